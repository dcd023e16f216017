//! Lexer.

use super::PtxError;

/// A word (identifier, literal or opcode with its modifiers), a string or a punctuation character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) text: &'a str,
    pub(super) line: usize,
}

/// Splits `text` into tokens, without comments.
pub(super) fn tokens(text: &str) -> Result<Vec<Token<'_>>, PtxError> {
    let bytes = text.as_bytes();
    let (mut tokens, mut at, mut line) = (Vec::new(), 0, 1);
    while at < bytes.len() {
        let rest = &text[at..];
        let length = match bytes[at] {
            b'\n' => {
                line += 1;
                at += 1;
                continue;
            }
            byte if byte.is_ascii_whitespace() => {
                at += 1;
                continue;
            }
            b'/' if rest.starts_with("//") => {
                at += rest.find('\n').unwrap_or(rest.len());
                continue;
            }
            b'/' if rest.starts_with("/*") => {
                let end = rest.find("*/").ok_or_else(|| PtxError { line, reason: "unterminated comment".into() })? + 2;
                line += rest[..end].matches('\n').count();
                at += end;
                continue;
            }
            b'"' => rest[1..].find('"').ok_or_else(|| PtxError { line, reason: "unterminated string".into() })? + 2,
            // Directives may follow each other without a space.
            b'.' => 1 + bytes[at + 1..].iter().take_while(|byte| is_word(**byte) && **byte != b'.').count(),
            byte if is_word(byte) => word(&bytes[at..]),
            byte if byte.is_ascii() => 1,
            _ => return Err(PtxError { line, reason: "non-ASCII character".into() }),
        };
        tokens.push(Token { text: &rest[..length], line });
        at += length;
    }
    Ok(tokens)
}

/// Returns the length of the word at the start. A double colon is part of it (`shared::cta`), a single one ends a
/// label.
fn word(bytes: &[u8]) -> usize {
    let mut length = 0;
    loop {
        length += bytes[length..].iter().take_while(|byte| is_word(**byte)).count();
        if !bytes[length..].starts_with(b"::") {
            return length;
        }
        length += 2;
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'%' | b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modifiers_stay_in_words_and_comments_are_skipped() {
        let text = "// top\n@%p1 ld.global.v2.f32 {%f1, %f2}, [%rd1+16]; /* a\nb */ $L__BB0_1: .reg.b32 %r; ret;";
        let words: Vec<_> = tokens(text).unwrap().iter().map(|token| (token.text, token.line)).collect();
        let (first, last) = (words[0], words[words.len() - 2]);
        assert_eq!((first, last), (("@", 2), ("ret", 3)));
        assert!(words.contains(&("ld.global.v2.f32", 2)) && words.contains(&("$L__BB0_1", 3)), "{words:?}");
        assert!(words.contains(&(".reg", 3)) && words.contains(&(".b32", 3)), "{words:?}");
        let words: Vec<_> = tokens("a.shared::cta; $L: ret").unwrap().iter().map(|token| token.text).collect();
        assert_eq!(words, ["a.shared::cta", ";", "$L", ":", "ret"]);
        assert!(tokens("/* never").is_err() && tokens("\"never").is_err());
    }
}
