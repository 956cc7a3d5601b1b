//! Forms and query strings: pairs of text in the order they came, whatever charset they were written in.
//!
//! Names with brackets (`transaction[order_number]`) stay as they are; nothing is nested. Nothing is an error: what is
//! no escape stands for itself. A name or value that is not UTF-8 is read as latin-1, each on its own, so that one
//! customer's `S%E3o Paulo` costs no other field.

use percent_encoding::percent_decode;

/// What lies beyond so many pairs is not looked at.
const PAIRS_MAX: usize = 4096;

/// The pairs of a form, white space around the whole of it left out.
pub fn pairs(bytes: &[u8]) -> Vec<(String, String)> {
    let fields = bytes.trim_ascii().split(|byte| *byte == b'&').filter(|field| !field.is_empty());
    fields.take(PAIRS_MAX).map(pair).collect()
}

/// The first value of that name.
pub fn value<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

fn pair(field: &[u8]) -> (String, String) {
    let mut halves = field.splitn(2, |byte| *byte == b'=');
    let mut half = || halves.next().map(text).unwrap_or_default();
    (half(), half())
}

fn text(encoded: &[u8]) -> String {
    let spaced: Vec<u8> = encoded.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    let bytes: Vec<u8> = percent_decode(&spaced).collect();
    // In latin-1 a byte is its character's number.
    String::from_utf8(bytes)
        .unwrap_or_else(|not_utf8| not_utf8.as_bytes().iter().map(|b| char::from(*b)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_as_they_come() {
        type Pairs = [(&'static str, &'static str)];
        let cases: &[(&[u8], &Pairs)] = &[
            (b"", &[]),
            (b" \r\n", &[]),
            (b"a=1&b=2\r\n", &[("a", "1"), ("b", "2")]),
            (b"a%5Bb%5D%5B%5D=1&a[b][]=2", &[("a[b][]", "1"), ("a[b][]", "2")]),
            (b"a=1+2%2B3%203&a", &[("a", "1 2+3 3"), ("a", "")]),
            (b"&&a==&=x&", &[("a", "="), ("", "x")]),
            (b"a=%zz%4&b=%", &[("a", "%zz%4"), ("b", "%")]),
            (
                b"utf8=S%C3%A3o&latin=S%E3o&raw=S\xe3o&raw8=S\xc3\xa3o",
                &[("utf8", "São"), ("latin", "São"), ("raw", "São"), ("raw8", "São")],
            ),
            (b"%E3=%E3%00%FF", &[("ã", "ã\0ÿ")]),
            (b"{\"json\":\"a=b\"}", &[("{\"json\":\"a", "b\"}")]),
        ];
        for (form, expected) in cases {
            let expected: Vec<(String, String)> =
                expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            assert_eq!(pairs(form), expected, "{}", String::from_utf8_lossy(form));
        }
    }

    #[test]
    fn the_first_of_equal_names_is_the_value() {
        let form = pairs(b"a=1&a=2");
        assert_eq!((value(&form, "a"), value(&form, "b")), (Some("1"), None));
    }

    #[test]
    fn pairs_are_bounded() {
        assert_eq!(pairs("a&".repeat(100_000).as_bytes()).len(), PAIRS_MAX);
    }
}
