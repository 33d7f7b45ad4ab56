//! The paths that source names, with every branch of a `use` written out.

use super::tokens::Token;

/// A path and the line it is on.
pub(super) type Named = (usize, Vec<String>);

/// Every path of two parts or more, and every path of a `use`.
pub(super) fn paths(tokens: &[Token]) -> Vec<Named> {
    let mut reader = Reader { tokens, at: 0, found: Vec::new() };
    while reader.at < tokens.len() {
        match reader.word() {
            "use" if reader.is_word(1) || reader.is(1, "::") || reader.is(1, "{") => {
                reader.at += 1;
                reader.tree(Vec::new());
            }
            _ if reader.is_word(0) && reader.is(1, "::") => reader.inline(),
            _ => reader.at += 1,
        }
    }
    reader.found
}

struct Reader<'a> {
    tokens: &'a [Token],
    at: usize,
    found: Vec<Named>,
}

impl Reader<'_> {
    fn word(&self) -> &str {
        self.tokens.get(self.at).map_or("", |(_, word)| word)
    }

    fn line(&self) -> usize {
        self.tokens.get(self.at).or(self.tokens.last()).map_or(0, |(line, _)| *line)
    }

    fn is(&self, ahead: usize, what: &str) -> bool {
        self.tokens.get(self.at + ahead).is_some_and(|(_, word)| word == what)
    }

    fn is_word(&self, ahead: usize) -> bool {
        let first = self.tokens.get(self.at + ahead).and_then(|(_, word)| word.chars().next());
        first.is_some_and(|c| c.is_alphabetic() || c == '_')
    }

    fn inline(&mut self) {
        let (line, mut path) = (self.line(), vec![self.word().to_owned()]);
        self.at += 1;
        while self.is(0, "::") && self.is_word(1) {
            self.at += 1;
            path.push(self.word().to_owned());
            self.at += 1;
        }
        // What is left are generics behind `::`, which the loop outside reads.
        self.at += usize::from(self.is(0, "::"));
        self.found.push((line, path));
    }

    /// One branch of a `use`, up to the comma, brace or semicolon behind it.
    fn tree(&mut self, mut path: Vec<String>) {
        let line = self.line();
        loop {
            if self.is(0, "::") {
                self.at += 1;
            } else if self.is(0, "{") {
                return self.branches(&path);
            } else if self.is(0, "as") {
                self.at += 2;
            } else if self.is_word(0) || self.is(0, "*") {
                if !self.is(0, "*") && (path.is_empty() || !self.is(0, "self")) {
                    path.push(self.word().to_owned());
                }
                self.at += 1;
            } else {
                break;
            }
        }
        self.found.push((line, path));
    }

    fn branches(&mut self, path: &[String]) {
        self.at += 1;
        while self.at < self.tokens.len() && !self.is(0, "}") {
            self.tree(path.to_vec());
            self.at += usize::from(self.is(0, ","));
        }
        self.at += 1;
    }
}
