//! Rust source as words and marks, without comments, literals and what only tests see.

/// A word or mark and the line it is on. `::` is one mark.
pub(super) type Token = (usize, String);

/// The words and marks of `source`.
pub(super) fn tokens(source: &str) -> Vec<Token> {
    let mut lexer = Lexer { chars: source.chars().collect(), at: 0, line: 1, found: Vec::new() };
    while lexer.at < lexer.chars.len() {
        lexer.step();
    }
    lexer.found
}

struct Lexer {
    chars: Vec<char>,
    at: usize,
    line: usize,
    found: Vec<Token>,
}

impl Lexer {
    fn peek(&self, ahead: usize) -> char {
        self.chars.get(self.at + ahead).copied().unwrap_or('\0')
    }

    fn bump(&mut self) {
        self.line += usize::from(self.peek(0) == '\n');
        self.at += 1;
    }

    fn skip(&mut self, count: usize) {
        (0..count).for_each(|_| self.bump());
    }

    fn step(&mut self) {
        match (self.peek(0), self.peek(1)) {
            ('/', '/') => self.skip_while(|c| c != '\n'),
            ('/', '*') => self.block_comment(),
            ('"', _) => self.string(),
            ('\'', _) => self.quote(),
            (':', ':') => {
                self.found.push((self.line, "::".into()));
                self.skip(2);
            }
            (c, _) if c.is_alphanumeric() || c == '_' => self.word(),
            (c, _) => {
                if !c.is_whitespace() {
                    self.found.push((self.line, c.into()));
                }
                self.bump();
            }
        }
    }

    fn skip_while(&mut self, keep: impl Fn(char) -> bool) {
        while self.at < self.chars.len() && keep(self.peek(0)) {
            self.bump();
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        while self.at < self.chars.len() {
            match (self.peek(0), self.peek(1)) {
                ('/', '*') => depth += 1,
                ('*', '/') => depth -= 1,
                _ => {
                    self.bump();
                    continue;
                }
            }
            self.skip(2);
            if depth == 0 {
                return;
            }
        }
    }

    fn string(&mut self) {
        self.bump();
        while self.at < self.chars.len() && self.peek(0) != '"' {
            self.skip(if self.peek(0) == '\\' { 2 } else { 1 });
        }
        self.bump();
    }

    /// A character, or a lifetime, which is left out as well.
    fn quote(&mut self) {
        if self.peek(1) == '\\' {
            self.skip(3);
            self.skip_while(|c| c != '\'');
            self.bump();
        } else if self.peek(2) == '\'' {
            self.skip(3);
        } else {
            self.bump();
            self.skip_while(|c| c.is_alphanumeric() || c == '_');
        }
    }

    fn word(&mut self) {
        let (start, line) = (self.at, self.line);
        self.skip_while(|c| c.is_alphanumeric() || c == '_');
        let word: String = self.chars[start..self.at].iter().collect();
        let hashes = self.chars[self.at..].iter().take_while(|c| **c == '#').count();
        if matches!(word.as_str(), "r" | "br" | "cr") && self.peek(hashes) == '"' {
            self.raw_string(hashes);
        } else {
            self.found.push((line, word));
        }
    }

    fn raw_string(&mut self, hashes: usize) {
        self.skip(hashes + 1);
        while self.at < self.chars.len() {
            let closed = self.peek(0) == '"' && (1..=hashes).all(|i| self.peek(i) == '#');
            self.skip(if closed { hashes + 1 } else { 1 });
            if closed {
                return;
            }
        }
    }
}

/// The tokens without the items that are there in tests alone, and the modules that such items declare.
pub(super) fn without_tests(tokens: &[Token]) -> (Vec<Token>, Vec<String>) {
    let (mut kept, mut modules) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < tokens.len() {
        let Some(end) = test_attribute(&tokens[at..]) else {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        };
        at += end;
        let length = item(&tokens[at..]);
        let words: Vec<&str> = tokens[at..at + length].iter().map(|(_, word)| word.as_str()).collect();
        if let Some(module) = words.windows(3).find(|w| w[0] == "mod" && w[2] == ";") {
            modules.push(module[1].to_owned());
        }
        at += length;
    }
    (kept, modules)
}

/// The length of a `#[cfg(test)]` at the beginning, if there is one.
fn test_attribute(tokens: &[Token]) -> Option<usize> {
    let words = || tokens.iter().map(|(_, word)| word.as_str());
    let close = words().position(|word| word == "]")?;
    let inside: Vec<&str> = words().take(close).collect();
    let is_test = inside.starts_with(&["#", "[", "cfg"]) && inside.contains(&"test") && !inside.contains(&"not");
    is_test.then_some(close + 1)
}

/// The length of the item at the beginning: up to its semicolon, or the end of its body.
fn item(tokens: &[Token]) -> usize {
    let mut depth = 0;
    for (i, (_, word)) in tokens.iter().enumerate() {
        match word.as_str() {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => {
                depth -= 1;
                if depth == 0 && word == "}" {
                    return i + 1;
                }
            }
            ";" if depth == 0 => return i + 1,
            _ => {}
        }
    }
    tokens.len()
}
