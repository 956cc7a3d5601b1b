//! Real input, distorted: bits, cuts, splices, and the words and numbers that readers stumble over.

/// What stands for a number, a word or a mark somewhere in the formats that are read.
const TOKENS: [&[u8]; 40] = [
    b"0",
    b"-1",
    b"1e400",
    b"-0.0",
    b"0.1e-30",
    b"9223372036854775808",
    b"18446744073709551616",
    b"00",
    b"1.",
    b"3.0900000000000034",
    b"null",
    b"true",
    b"{}",
    b"[]",
    b"\"\"",
    b"\"",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"&",
    b"=",
    b"%",
    b"%00",
    b"%E3",
    b"+",
    b";",
    b"\r\n",
    b"\0",
    b"\xff",
    b"\xc3\xa7",
    b"\xf0\x9f\xa6\x80",
    b"31/02/2026 25:61:61",
    b"2026-13-45T99:99:99-99:99",
    b"..",
];
const INPUT_BYTES_MAX: usize = 16 * 1024;
/// So many distorted inputs are kept, to be distorted further.
const KEPT_MAX: usize = 64;
const CHANGES_MAX: u64 = 6;
/// One in so many inputs is kept.
const KEEP_ONE_IN: u64 = 50;

pub struct Mutator {
    state: u64,
    seeds: Vec<Vec<u8>>,
    kept: Vec<Vec<u8>>,
}

impl Mutator {
    pub fn new(seed: u64, seeds: Vec<Vec<u8>>) -> Mutator {
        assert!(!seeds.is_empty(), "a target without real input");
        Mutator { state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1, seeds, kept: Vec::new() }
    }

    pub fn input(&mut self) -> Vec<u8> {
        let mut input = self.some();
        for _ in 0..=self.below(CHANGES_MAX) {
            self.change(&mut input);
        }
        input.truncate(INPUT_BYTES_MAX);
        if self.below(KEEP_ONE_IN) == 0 {
            let place = self.below(KEPT_MAX as u64) as usize;
            if place < self.kept.len() {
                self.kept[place] = input.clone()
            } else {
                self.kept.push(input.clone())
            }
        }
        input
    }

    fn some(&mut self) -> Vec<u8> {
        let of_kept = !self.kept.is_empty() && self.below(3) == 0;
        let count = if of_kept { self.kept.len() } else { self.seeds.len() };
        let which = self.below(count as u64) as usize;
        if of_kept { self.kept[which].clone() } else { self.seeds[which].clone() }
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let at = self.below(input.len() as u64 + 1) as usize;
        let length = self.below(32) as usize + 1;
        let end = (at + length).min(input.len());
        match self.below(9) {
            0 if at < input.len() => input[at] ^= 1 << self.below(8),
            1 if at < input.len() => input[at] = self.below(256) as u8,
            2 => input.truncate(at),
            3 => drop(input.drain(at..end)),
            4 => {
                let copy = input[at..end].to_vec();
                let times = self.below(20) as usize + 1;
                drop(input.splice(at..at, copy.repeat(times)));
            }
            5 => {
                let other = self.some();
                let from = self.below(other.len() as u64 + 1) as usize;
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            6 => self.replace_number(input, at),
            _ => {
                let token = TOKENS[self.below(TOKENS.len() as u64) as usize];
                drop(input.splice(at..at, token.iter().copied()));
            }
        }
    }

    /// The first number from here on becomes another token.
    fn replace_number(&mut self, input: &mut Vec<u8>, at: usize) {
        let Some(begin) = input[at..].iter().position(u8::is_ascii_digit).map(|found| at + found) else {
            return;
        };
        let length = input[begin..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let token = TOKENS[self.below(TOKENS.len() as u64) as usize];
        drop(input.splice(begin..begin + length, token.iter().copied()));
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 11) % bound
    }
}
