//! Spells comparisons out, and says where numbers are calculated with.
//!
//! Jinja puts all values in one order: every text is larger than every number, and what is absent is
//! smaller. So `a > b` is compiled as a filter, `(a)|compare(">", (b))`, which decides as wilco
//! documents it. The operands are found among the tokens: nothing but `and`, `or`, `not`, `if`,
//! `else`, commas and the like binds less tightly than a comparison.
//!
//! A number that is kept as it was written has to become one of the language's own before anything is
//! calculated with it: `a * -b | round` is compiled as `a|number * -(b|number) |numbers| round`. A filter
//! binds more tightly than any operator but the sign.

mod run;

use std::ops::Range;

use minijinja::machinery::{Token, tokenize};

use super::CALCULATING;
use run::{Binds, Run, Term, insert};

/// A source in which comparisons are spelled out.
#[derive(Debug, Default)]
pub(super) struct Rewritten {
    pub(super) source: String,
    edits: Vec<Edit>,
}

#[derive(Debug)]
struct Edit {
    at: Range<usize>,
    text: String,
}

/// A name that the language looks up only when it comes there.
pub(super) struct Used<'s> {
    pub(super) kind: UsedKind,
    pub(super) name: &'s str,
    pub(super) place: Range<usize>,
    /// The first argument, where it is a literal text.
    pub(super) argument: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum UsedKind {
    Filter,
    Test,
}

/// A token as far as it matters here, with its place in the source.
struct Piece<'s> {
    token: Token<'s>,
    at: Range<usize>,
}

impl Piece<'_> {
    fn is(&self, word: &str) -> bool {
        matches!(self.token, Token::Ident(name) if name == word)
    }
}

/// The pieces of a source, an expression or a template, that was compiled before.
pub(super) struct Pieces<'s>(Vec<Piece<'s>>);

/// The filters that take the place of what was written.
#[derive(Clone, Copy)]
pub(super) struct Filters {
    pub(super) compare: &'static str,
    /// Makes a number one of the language's own.
    pub(super) number: &'static str,
    /// The same with those in lists and objects.
    pub(super) numbers: &'static str,
}

impl<'s> Pieces<'s> {
    pub(super) fn of(source: &'s str, is_expression: bool) -> Self {
        let tokens = tokenize(source, is_expression, minijinja::syntax::SyntaxConfig::default());
        let pieces = tokens.map_while(Result::ok).map(|(token, span)| {
            let at = |offset: u32| usize::try_from(offset).unwrap_or(usize::MAX);
            Piece { token, at: at(span.start_offset)..at(span.end_offset) }
        });
        Self(pieces.collect())
    }

    /// The filters and tests that are named.
    pub(super) fn used(&self) -> Vec<Used<'s>> {
        let mut used = Vec::new();
        for (index, piece) in self.0.iter().enumerate() {
            let Token::Ident(name) = piece.token else { continue };
            let kind = match self.before(index) {
                Some(Token::Pipe) => UsedKind::Filter,
                _ if self.follows_is(index) && name != "not" => UsedKind::Test,
                _ if self.is_keyword(index.wrapping_sub(1), "filter") => UsedKind::Filter,
                _ => continue,
            };
            let argument = match self.0.get(index + 1..index + 3) {
                Some([Piece { token: Token::ParenOpen, .. }, argument]) => match &argument.token {
                    Token::Str(text) => Some((*text).to_owned()),
                    Token::String(text) => Some(text.to_string()),
                    _ => None,
                },
                _ => None,
            };
            used.push(Used { kind, name, place: piece.at.clone(), argument });
        }
        used
    }

    /// The source between `prefix` and `suffix`.
    pub(super) fn rewrite(
        &self,
        source: &str,
        filters: Filters,
        [prefix, suffix]: [&str; 2],
    ) -> Rewritten {
        let mut edits = vec![Edit { at: 0..0, text: prefix.to_owned() }];
        let mut open = vec![Run::default()];
        for index in 0..self.0.len() {
            self.take(index, filters, &mut open, &mut edits);
        }
        for run in &mut open {
            run.flush(filters, &mut edits);
        }
        edits.push(Edit { at: source.len()..source.len(), text: suffix.to_owned() });
        edits.sort_by_key(|edit| edit.at.start);
        let mut rewritten = String::new();
        let mut from = 0;
        for edit in &edits {
            rewritten.push_str(&source[from..edit.at.start]);
            rewritten.push_str(&edit.text);
            from = edit.at.end;
        }
        rewritten.push_str(&source[from..]);
        Rewritten { source: rewritten, edits }
    }

    /// Takes the next token, which may open or close a bracket or end a run of operands.
    fn take(&self, index: usize, filters: Filters, open: &mut Vec<Run>, edits: &mut Vec<Edit>) {
        let piece = &self.0[index];
        let Some(run) = open.last_mut() else { return };
        match piece.token {
            Token::TemplateData(_) => {}
            Token::BracketOpen | Token::ParenOpen | Token::BraceOpen => {
                run.extend(piece);
                open.push(Run::default());
            }
            Token::VariableStart | Token::BlockStart => open.push(Run::default()),
            Token::BracketClose | Token::ParenClose | Token::BraceClose => {
                run.flush(filters, edits);
                open.pop();
                if let Some(run) = open.last_mut() {
                    run.extend(piece);
                }
            }
            Token::VariableEnd | Token::BlockEnd => {
                run.flush(filters, edits);
                open.pop();
            }
            Token::Comma | Token::Colon | Token::Assign => run.flush(filters, edits),
            Token::Ident(_) if self.ends_operand(index) => {
                run.flush(filters, edits);
                run.is_for |= self.is_keyword(index, "for");
            }
            Token::Ident(_) if self.is_part_of_not_in(index) => {}
            _ => self.take_into(run, index, filters, edits),
        }
    }

    /// Takes a token of the operands and operators between two boundaries.
    fn take_into(&self, run: &mut Run, index: usize, filters: Filters, edits: &mut Vec<Edit>) {
        let piece = &self.0[index];
        match piece.token {
            Token::Pipe => {
                run.term.close_sign(filters, edits);
                if let Some(Token::Ident(name)) = self.0.get(index + 1).map(|piece| &piece.token)
                    && CALCULATING.contains(name)
                {
                    insert(edits, piece.at.start, format!("|{}", filters.numbers));
                }
                run.extend(piece);
            }
            Token::Ident("is") if !self.is_name(index) => {
                run.term.close_sign(filters, edits);
                run.extend(piece);
            }
            Token::Minus if run.term.at.is_none() => {
                run.term.is_signed = true;
                run.reach(&piece.at);
            }
            _ if let Some(binds) = self.binds(index) => {
                run.end_term(Some(binds), filters, edits);
                run.term.before = Some(binds);
                run.reach(&piece.at);
            }
            _ => match self.operator(index) {
                Some("in") if run.is_for => {
                    run.current = None;
                    run.is_for = false;
                    run.term = Term::default();
                }
                Some(operator) => {
                    run.end_term(None, filters, edits);
                    let operand = run.current.take();
                    run.operands.extend(operand);
                    run.operators.push(operator);
                }
                None => run.extend(piece),
            },
        }
    }

    /// An operator that makes a value of two. Behind the name of a test stands its argument.
    fn binds(&self, index: usize) -> Option<Binds> {
        let binds = match self.0[index].token {
            Token::Plus | Token::Minus => Binds::Sum,
            Token::Tilde => Binds::Concat,
            Token::Mul | Token::Div | Token::FloorDiv | Token::Pow | Token::Mod => Binds::Product,
            _ => return None,
        };
        let is_argument = index.checked_sub(1).is_some_and(|before| self.follows_is(before));
        (!is_argument).then_some(binds)
    }

    fn operator(&self, index: usize) -> Option<&'static str> {
        Some(match self.0[index].token {
            Token::Eq => "==",
            Token::Ne => "!=",
            Token::Lt => "<",
            Token::Lte => "<=",
            Token::Gt => ">",
            Token::Gte => ">=",
            Token::Ident("in") if self.is_name(index) => return None,
            Token::Ident("in") => {
                let negated = index > 0 && self.is_part_of_not_in(index - 1);
                if negated { "not in" } else { "in" }
            }
            _ => return None,
        })
    }

    /// Words that bind less tightly than a comparison.
    fn ends_operand(&self, index: usize) -> bool {
        let Token::Ident(word) = self.0[index].token else { return false };
        if matches!(self.before(index), Some(Token::BlockStart)) {
            return true;
        }
        let binds_less = match word {
            "and" | "or" | "if" | "else" => true,
            "not" => !self.is_part_of_not_in(index),
            "recursive" => {
                matches!(self.0.get(index + 1).map(|piece| &piece.token), Some(Token::BlockEnd))
            }
            _ => false,
        };
        binds_less && !self.is_name(index)
    }

    /// The `not` of `a not in b`.
    fn is_part_of_not_in(&self, index: usize) -> bool {
        let is_next_in = self.0.get(index + 1).is_some_and(|piece| piece.is("in"));
        self.0[index].is("not") && is_next_in && !self.is_name(index)
    }

    /// A member `a.in`, a filter `a | in`, a test `a is in`, `a is not in`, or the `not` of the last.
    fn is_name(&self, index: usize) -> bool {
        matches!(self.before(index), Some(Token::Dot | Token::Pipe)) || self.follows_is(index)
    }

    fn follows_is(&self, index: usize) -> bool {
        let is = |index: usize| {
            self.0.get(index).is_some_and(|piece| piece.is("is"))
                && !matches!(self.before(index), Some(Token::Dot | Token::Pipe))
        };
        let Some(before) = index.checked_sub(1) else { return false };
        let is_negated = self.0[before].is("not") && before.checked_sub(1).is_some_and(is);
        is(before) || is_negated
    }

    /// The word that a statement begins with.
    fn is_keyword(&self, index: usize, word: &str) -> bool {
        self.0.get(index).is_some_and(|piece| piece.is(word))
            && matches!(self.before(index), Some(Token::BlockStart))
    }

    fn before(&self, index: usize) -> Option<&Token<'s>> {
        index.checked_sub(1).and_then(|index| self.0.get(index)).map(|piece| &piece.token)
    }
}

impl Rewritten {
    /// A place of the rewritten source in the source as it was written.
    pub(super) fn written(&self, place: &Range<usize>) -> Range<usize> {
        self.position(place.start)..self.position(place.end)
    }

    fn position(&self, place: usize) -> usize {
        let (mut before, mut now) = (0, 0);
        for edit in &self.edits {
            let kept = edit.at.start - before;
            if place < now + kept {
                break;
            }
            now += kept;
            if place < now + edit.text.len() {
                return edit.at.start;
            }
            now += edit.text.len();
            before = edit.at.end;
        }
        before + (place - now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILTERS: Filters = Filters { compare: "c", number: "n", numbers: "m" };

    #[test]
    fn only_comparisons_are_rewritten() {
        for (source, expected) in [
            ("a", "a"),
            ("a > 5", r#"(a)|c(">",(5))"#),
            ("not a.b + 1 <= -c | abs and d", r#"not (a.b|n + 1)|c("<=",(-(c|n) |m| abs)) and d"#),
            ("1 < a < 5 or b", r#"(1)|c("<",(a),"<",(5)) or b"#),
            ("(a > b) == c[d < e]", r#"(((a)|c(">",(b))))|c("==",(c[(d)|c("<",(e))]))"#),
            ("a in b", r#"(a)|c("in",(b))"#),
            ("a not in [1, b == 2]", r#"(a)|c("not in",([1, (b)|c("==",(2))]))"#),
            ("a is in b and a is not in c", "a is in b and a is not in c"),
            ("a is not none and a.in", "a is not none and a.in"),
            ("a.not > a.if", r#"(a.not)|c(">",(a.if))"#),
            ("a if b > 1 else c < 2", r#"a if (b)|c(">",(1)) else (c)|c("<",(2))"#),
            ("f(x=a > 1, y={'k': b == 2})", r#"f(x=(a)|c(">",(1)), y={'k': (b)|c("==",(2))})"#),
            ("'a > b'", "'a > b'"),
            ("a is defined == b", r#"(a is defined)|c("==",(b))"#),
        ] {
            let rewritten = Pieces::of(source, true).rewrite(source, FILTERS, ["", ""]);
            assert_eq!(rewritten.source, expected, "{source}");
        }
        for (source, expected) in [
            ("a > b {{ c > d }} e", r#"a > b {{ (c)|c(">",(d)) }} e"#),
            (
                "{%- if a == 1 %}x{% elif b in c -%}",
                r#"{%- if (a)|c("==",(1)) %}x{% elif (b)|c("in",(c)) -%}"#,
            ),
            (
                "{% for x in y if x > 1 recursive %}",
                r#"{% for x in y if (x)|c(">",(1)) recursive %}"#,
            ),
            ("{% for a, b in c %}{{ a in b }}", r#"{% for a, b in c %}{{ (a)|c("in",(b)) }}"#),
            ("{% set x = a > b %}", r#"{% set x = (a)|c(">",(b)) %}"#),
            (
                "{% raw %}{{ a > b }}{% endraw %}{# a > b #}",
                "{% raw %}{{ a > b }}{% endraw %}{# a > b #}",
            ),
        ] {
            let rewritten = Pieces::of(source, false).rewrite(source, FILTERS, ["", ""]);
            assert_eq!(rewritten.source, expected, "{source}");
        }
    }

    #[test]
    fn operands_of_arithmetic_become_numbers() {
        for (source, expected) in [
            ("a + b.c * 2", "a|n + b.c|n * 2"),
            ("a - -b", "a|n - -(b|n)"),
            ("-a.b[-1] | f + 1", "-(a.b[-1]|n) | f|n + 1"),
            ("(a + b) ** f(-c)", "(a|n + b|n)|n ** f(-(c|n))|n"),
            ("a ~ b + c ~ -d * e", "a ~ b + c ~ -(d|n) * e|n"),
            ("a | round(b - 1) // c", "a |m| round(b|n - 1)|n // c|n"),
            ("a | join | sort if b % c else -1", "a | join |m| sort if b|n % c|n else -1"),
            ("a is odd and -b is even", "a is odd and -(b|n) is even"),
            ("a is divisibleby -b", "a is divisibleby -b"),
            ("[a, -b, {'k': c / d}]", "[a, -(b|n), {'k': c|n / d|n}]"),
            ("a > b - c", r#"(a)|c(">",(b|n - c|n))"#),
            ("a[1:-b]", "a[1:-(b|n)]"),
            ("a.is-b", "a.is|n-b|n"),
        ] {
            let rewritten = Pieces::of(source, true).rewrite(source, FILTERS, ["", ""]);
            assert_eq!(rewritten.source, expected, "{source}");
        }
    }

    #[test]
    fn a_position_in_the_rewritten_text_is_found_in_the_original() {
        let source = "a > 5 and b | odd(x == 1)";
        let rewritten = Pieces::of(source, true).rewrite(source, FILTERS, ["{{", "}}"]);
        for word in ["a", "5", "and", "b", "odd", "1"] {
            let [written, now] = [source, &rewritten.source].map(|text| text.find(word).unwrap());
            let place = rewritten.written(&(now..now + word.len()));
            assert_eq!(place, written..written + word.len(), "{word}");
        }
    }
}
