//! Money: integers in minor units inside, decimal strings with the currency's full scale at the edges.
//!
//! No floating point: a provider's JSON number is read from its literal text, digit by digit. What lies beyond the
//! currency's scale is accepted only where it is the dust that binary floats leave behind (`3.0900000000000034`).

use bincode::{Decode, Encode};
use std::fmt;

/// Amounts stay below this many minor units, so that every sum of an order's amounts fits an `i64`.
pub const MINOR_MAX: i64 = 1_000_000_000_000_000;

const LITERAL_CHARS_MAX: usize = 40;
const EXPONENT_MAX: i32 = 30;
/// A double carries 15 decimal digits faithfully; what follows them is noise.
const FAITHFUL_DIGITS: usize = 15;

/// An amount in minor units of some currency. Signed: refunds and reversals are negative where they are changes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode, Debug)]
pub struct Money(i64);

/// A sum over many orders. Wider than [`Money`], so that no number of orders overflows it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode, Debug)]
pub struct Total(pub i128);

/// An ISO 4217 currency that this ledger knows the scale of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Currency(u8);

/// Code and number of decimals. Append only: nothing stores the index, but tests pin the order.
const CURRENCIES: &[(&str, u8)] = &[
    ("BRL", 2),
    ("USD", 2),
    ("EUR", 2),
    ("ARS", 2),
    ("CLP", 0),
    ("COP", 2),
    ("MXN", 2),
    ("PEN", 2),
    ("PYG", 0),
    ("UYU", 2),
    ("GBP", 2),
    ("JPY", 0),
    ("KWD", 3),
];

#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MoneyError {
    #[error("an amount is a decimal number such as \"12.34\", at most {LITERAL_CHARS_MAX} characters long")]
    NotADecimal,
    #[error("an amount is not negative")]
    Negative,
    #[error("an amount has at most {scale} decimals in {currency}")]
    TooManyDecimals { scale: u8, currency: Currency },
    #[error("an amount stays below 10^15 minor units")]
    TooLarge,
    #[error("an amount such as 1.234 could be two numbers; write 1234,00 or 1,234")]
    Ambiguous,
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("unknown currency {0:?}; known are {known}", known = Currency::known())]
pub struct UnknownCurrency(pub String);

impl Currency {
    pub const BRL: Currency = Currency(0);

    pub fn parse(code: &str) -> Result<Self, UnknownCurrency> {
        CURRENCIES
            .iter()
            .zip(0u8..)
            .find(|((known, _), _)| *known == code)
            .map(|(_, index)| Currency(index))
            .ok_or_else(|| UnknownCurrency(code.chars().take(16).collect()))
    }

    pub fn code(self) -> &'static str {
        CURRENCIES.get(usize::from(self.0)).map_or("BRL", |(code, _)| code)
    }

    pub fn scale(self) -> u8 {
        CURRENCIES.get(usize::from(self.0)).map_or(2, |(_, scale)| *scale)
    }

    fn known() -> String {
        CURRENCIES.iter().map(|(code, _)| *code).collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Encode for Currency {
    fn encode<E: bincode::enc::Encoder>(&self, e: &mut E) -> Result<(), bincode::error::EncodeError> {
        self.code().encode(e)
    }
}

impl<C> Decode<C> for Currency {
    fn decode<D: bincode::de::Decoder<Context = C>>(d: &mut D) -> Result<Self, bincode::error::DecodeError> {
        let code = String::decode(d)?;
        Currency::parse(&code).map_err(|e| bincode::error::DecodeError::OtherString(e.to_string()))
    }
}
bincode::impl_borrow_decode!(Currency);

impl Money {
    pub const ZERO: Money = Money(0);

    /// An amount of `minor` units, if it is within bounds in either direction.
    pub fn from_minor(minor: i64) -> Result<Self, MoneyError> {
        if minor.unsigned_abs() < MINOR_MAX.unsigned_abs() {
            Ok(Money(minor))
        } else {
            Err(MoneyError::TooLarge)
        }
    }

    pub fn minor(self) -> i64 {
        self.0
    }

    pub fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// `"12.34"` as an API client writes it: not negative, no exponent, no more decimals than the currency has.
    pub fn parse(text: &str, currency: Currency) -> Result<Self, MoneyError> {
        let (whole, decimals) = text.split_once('.').map_or((text, None), |(w, d)| (w, Some(d)));
        let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        if text.starts_with('-') && text.len() > 1 {
            return Err(MoneyError::Negative);
        }
        if text.len() > LITERAL_CHARS_MAX || !digits(whole) || !decimals.is_none_or(digits) {
            return Err(MoneyError::NotADecimal);
        }
        if decimals.is_some_and(|d| d.len() > usize::from(currency.scale())) {
            return Err(MoneyError::TooManyDecimals { scale: currency.scale(), currency });
        }
        Money::from_literal(text, currency)
    }

    /// A provider's number in major units (`142.0`, `1.1e2`, `3.0900000000000034`), from its literal text.
    pub fn from_literal(text: &str, currency: Currency) -> Result<Self, MoneyError> {
        Self::scaled(text, i32::from(currency.scale()), currency)
    }

    /// A number as Brazilian spreadsheets write it: `1.234,56`, `1234,56`, `12.34`. A comma is the decimal point, and then
    /// points group thousands; `1.234` alone could be either, and is refused.
    pub fn from_comma_literal(text: &str, currency: Currency) -> Result<Self, MoneyError> {
        match text.split_once(',') {
            Some((whole, decimals)) => {
                let whole = ungrouped(whole).ok_or(MoneyError::NotADecimal)?;
                Self::from_literal(&format!("{whole}.{decimals}"), currency)
            }
            None if ungrouped(text).is_some_and(|plain| plain != text) => Err(MoneyError::Ambiguous),
            None => Self::from_literal(text, currency),
        }
    }

    /// A provider's integer in minor units (`cents`), from its literal text.
    pub fn from_minor_literal(text: &str, currency: Currency) -> Result<Self, MoneyError> {
        Self::scaled(text, 0, currency)
    }

    fn scaled(text: &str, shift: i32, currency: Currency) -> Result<Self, MoneyError> {
        let literal = Literal::parse(text)?;
        let (minor, exact) = literal.shifted(shift)?;
        if !exact {
            return Err(MoneyError::TooManyDecimals { scale: currency.scale(), currency });
        }
        if literal.negative && minor != 0 {
            return Err(MoneyError::Negative);
        }
        Money::from_minor(minor)
    }

    /// `"12.34"`, always with the currency's full scale.
    pub fn show(self, currency: Currency) -> String {
        Total(i128::from(self.0)).show(currency)
    }

    pub fn min(self, other: Money) -> Money {
        Money(self.0.min(other.0))
    }

    pub fn max(self, other: Money) -> Money {
        Money(self.0.max(other.0))
    }
}

// Bounded by construction: an amount is below 10^15 and an order's function adds at most four of them, so these
// cannot overflow an i64; saturation keeps even a corrupted store from panicking.
impl std::ops::Add for Money {
    type Output = Money;
    fn add(self, other: Money) -> Money {
        Money(self.0.saturating_add(other.0))
    }
}

impl std::ops::Sub for Money {
    type Output = Money;
    fn sub(self, other: Money) -> Money {
        Money(self.0.saturating_sub(other.0))
    }
}

impl std::ops::Neg for Money {
    type Output = Money;
    fn neg(self) -> Money {
        Money(self.0.saturating_neg())
    }
}

impl Total {
    pub fn plus(self, amount: Money) -> Total {
        Total(self.0.saturating_add(i128::from(amount.0)))
    }

    pub fn show(self, currency: Currency) -> String {
        let scale = usize::from(currency.scale());
        let sign = if self.0 < 0 { "-" } else { "" };
        let digits = format!("{:0width$}", self.0.unsigned_abs(), width = scale + 1);
        let (whole, decimals) = digits.split_at(digits.len() - scale);
        if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{decimals}") }
    }
}

/// A whole number without the points that group its thousands; none where they stand elsewhere.
fn ungrouped(text: &str) -> Option<String> {
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
    let mut groups = digits.split('.');
    let first = groups.next().unwrap_or_default();
    let rest: Vec<&str> = groups.collect();
    let grouped = rest.is_empty() || (1..=3).contains(&first.len());
    let thousands = rest.iter().all(|group| group.len() == 3);
    (grouped && thousands).then(|| format!("{sign}{first}{}", rest.concat()))
}

/// A decimal literal taken apart: `digits` with the point after the first `point` of them (which may lie outside).
struct Literal {
    negative: bool,
    digits: Vec<u8>,
    point: i32,
}

impl Literal {
    fn parse(text: &str) -> Result<Self, MoneyError> {
        if text.len() > LITERAL_CHARS_MAX {
            return Err(MoneyError::NotADecimal);
        }
        let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) = text.split_once(['e', 'E']).map_or((text, "0"), |(m, e)| (m, e));
        let (whole, decimals) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !all_digits(whole) || !all_digits(decimals) {
            return Err(MoneyError::NotADecimal);
        }
        if mantissa.contains('.') && decimals.is_empty() {
            return Err(MoneyError::NotADecimal);
        }
        let unsigned = exponent.trim_start_matches(['+', '-']);
        if unsigned.is_empty() || !all_digits(unsigned) {
            return Err(MoneyError::NotADecimal);
        }
        let exponent: i32 = exponent.parse().map_err(|_| MoneyError::NotADecimal)?;
        if exponent.abs() > EXPONENT_MAX {
            return Err(MoneyError::NotADecimal);
        }
        let digits = whole.bytes().chain(decimals.bytes()).map(|b| b - b'0').collect();
        let point = i32::try_from(whole.len()).map_err(|_| MoneyError::NotADecimal)? + exponent;
        Ok(Literal { negative, digits, point })
    }

    /// The value times 10^shift as an integer, and whether nothing but binary dust was dropped for it.
    fn shifted(&self, shift: i32) -> Result<(i64, bool), MoneyError> {
        let at = |position: i32| -> u8 {
            usize::try_from(position).ok().and_then(|p| self.digits.get(p)).copied().unwrap_or(0)
        };
        let first = self.digits.iter().zip(0i32..).find(|(digit, _)| **digit != 0).map(|(_, place)| place);
        let Some(first) = first else { return Ok((0, true)) };
        let cut = self.point + shift;
        let mut minor: i64 = 0;
        for place in first..cut {
            minor =
                minor.checked_mul(10).and_then(|m| m.checked_add(i64::from(at(place)))).unwrap_or(MINOR_MAX);
            if minor >= MINOR_MAX {
                return Err(MoneyError::TooLarge);
            }
        }
        let end = i32::try_from(self.digits.len()).map_err(|_| MoneyError::NotADecimal)?;
        let rest: Vec<u8> = (cut.min(end)..end).map(at).collect();
        if rest.iter().all(|digit| *digit == 0) {
            return Ok((minor, true));
        }
        let significant = usize::try_from(cut - first).unwrap_or(0);
        let run = |of: u8| rest.iter().take_while(|digit| **digit == of).count();
        let dust = |run: usize| {
            significant + run >= FAITHFUL_DIGITS || (significant == 0 && run >= FAITHFUL_DIGITS - 3)
        };
        if dust(run(0)) {
            Ok((minor, true))
        } else if dust(run(9)) {
            Ok((minor + 1, true))
        } else {
            Ok((minor, false))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn provider_literals() {
        let cases: &[(&str, Result<i64, ()>)] = &[
            ("129.9", Ok(12990)),
            ("142.0", Ok(14200)),
            ("650", Ok(65000)),
            ("0", Ok(0)),
            ("-0.00", Ok(0)),
            ("1e2", Ok(10000)),
            ("1.5E+3", Ok(150000)),
            ("12345e-2", Ok(12345)),
            ("3.0900000000000034", Ok(309)),
            ("0.30000000000000004", Ok(30)),
            ("0.29999999999999998", Ok(30)),
            ("434.99999999999994", Ok(43500)),
            ("5.551115123125783e-17", Ok(0)),
            ("9007199254740993", Err(())),
            ("9999999999999.99", Ok(999_999_999_999_999)),
            ("1e15", Err(())),
            ("1e30", Err(())),
            ("1e31", Err(())),
            ("1e999999999", Err(())),
            ("0.005", Err(())),
            ("1.105", Err(())),
            ("1.0000000000001", Err(())),
            ("-1", Err(())),
            ("", Err(())),
            (".5", Err(())),
            ("5.", Err(())),
            ("1e", Err(())),
            ("1e+-3", Err(())),
            ("NaN", Err(())),
            ("1,10", Err(())),
            ("0x10", Err(())),
            ("10000000000000000000000000000000000000000", Err(())),
        ];
        for (text, expected) in cases {
            let got = Money::from_literal(text, Currency::BRL).map(Money::minor).map_err(|_| ());
            assert_eq!(&got, expected, "{text}");
        }
    }

    #[test]
    fn brazilian_numbers() {
        let cases: &[(&str, Option<i64>)] = &[
            ("1.234,56", Some(123_456)),
            ("1234,56", Some(123_456)),
            ("12.345.678,9", Some(1_234_567_890)),
            ("12.34", Some(1234)),
            ("1.1", Some(110)),
            ("7", Some(700)),
            ("0,30000000000000004", Some(30)),
            ("0,005", None),
            ("1.234", None),
            ("1.234.567", None),
            ("12.34,5", None),
            ("1234.567,00", None),
            (".123,00", None),
            ("1,234,56", None),
            ("1,", None),
            (",5", None),
            ("-1,00", None),
            ("R$ 1,00", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let got = Money::from_comma_literal(text, Currency::BRL).map(Money::minor).ok();
            assert_eq!(&got, expected, "{text}");
        }
    }

    #[test]
    fn scales_and_display() {
        let clp = Currency::parse("CLP").unwrap();
        let kwd = Currency::parse("KWD").unwrap();
        assert_eq!(Money::parse("12", clp).unwrap().show(clp), "12");
        assert!(matches!(Money::parse("12.5", clp), Err(MoneyError::TooManyDecimals { scale: 0, .. })));
        assert_eq!(Money::parse("1.1", kwd).unwrap().show(kwd), "1.100");
        assert_eq!((-Money::parse("0.05", Currency::BRL).unwrap()).show(Currency::BRL), "-0.05");
        assert_eq!(Total(-123_456_789_012_345_678_901).show(Currency::BRL), "-1234567890123456789.01");
        for bad in ["1e2", "+1", "-1", "-", " 1", "1.", ".1", "1.105", "", "1_000"] {
            assert!(Money::parse(bad, Currency::BRL).is_err(), "{bad:?}");
        }
    }
}
