//! What stands between two tokens that bind less tightly than a comparison, and its parts.

use std::ops::Range;

use minijinja::machinery::Token;

use super::{Edit, Filters, Piece};

/// What is between two tokens that bind less tightly than a comparison.
#[derive(Default)]
pub(super) struct Run {
    pub(super) operands: Vec<Range<usize>>,
    pub(super) operators: Vec<&'static str>,
    pub(super) current: Option<Range<usize>>,
    /// In `for x in …` the first `in` compares nothing.
    pub(super) is_for: bool,
    pub(super) term: Term,
}

/// What is between two operators.
#[derive(Default)]
pub(super) struct Term {
    pub(super) at: Option<Range<usize>>,
    /// What it stands behind.
    pub(super) before: Option<Binds>,
    /// A sign stands before it, which is the sign of what comes before any filter or test.
    pub(super) is_signed: bool,
    is_literal: bool,
}

/// How tightly an operator binds, the loosest first.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Binds {
    Sum,
    /// `~`, which makes texts.
    Concat,
    Product,
}

impl Run {
    /// The operand goes on, and with it its term.
    pub(super) fn extend(&mut self, piece: &Piece<'_>) {
        self.reach(&piece.at);
        match &mut self.term.at {
            Some(term) => {
                term.end = piece.at.end;
                self.term.is_literal = false;
            }
            None => {
                self.term.at = Some(piece.at.clone());
                self.term.is_literal = matches!(
                    piece.token,
                    Token::Int(_)
                        | Token::Int128(_)
                        | Token::Float(_)
                        | Token::Str(_)
                        | Token::String(_)
                );
            }
        }
    }

    pub(super) fn reach(&mut self, at: &Range<usize>) {
        match &mut self.current {
            Some(current) => current.end = at.end,
            None => self.current = Some(at.clone()),
        }
    }

    /// An operator follows, or the end.
    pub(super) fn end_term(
        &mut self,
        next: Option<Binds>,
        filters: Filters,
        edits: &mut Vec<Edit>,
    ) {
        let was_signed = self.term.is_signed;
        self.term.close_sign(filters, edits);
        let Term { at: Some(at), before, is_literal, .. } = std::mem::take(&mut self.term) else {
            return;
        };
        let sides = [before, next];
        let is_calculated = sides.contains(&Some(Binds::Product))
            || sides.contains(&Some(Binds::Sum)) && !sides.contains(&Some(Binds::Concat));
        if is_calculated && !is_literal && !was_signed {
            insert(edits, at.end, format!("|{}", filters.number));
        }
    }

    /// Spells out `a < b` and `a < b <= c`, if that is what there was.
    pub(super) fn flush(&mut self, filters: Filters, edits: &mut Vec<Edit>) {
        self.end_term(None, filters, edits);
        let Self { mut operands, operators, current, is_for, .. } = std::mem::take(self);
        self.is_for = is_for;
        operands.extend(current);
        if operators.is_empty() || operands.len() != operators.len() + 1 {
            return;
        }
        insert(edits, operands[0].start, "(".into());
        for (index, operator) in operators.into_iter().enumerate() {
            let gap = operands[index].end..operands[index + 1].start;
            let filter = filters.compare;
            let open = if index == 0 { format!(")|{filter}(") } else { "),".into() };
            edits.push(Edit { at: gap, text: format!("{open}\"{operator}\",(") });
        }
        let end = operands[operands.len() - 1].end;
        insert(edits, end, "))".into());
    }
}

impl Term {
    /// What there is so far is what the sign is the sign of.
    pub(super) fn close_sign(&mut self, filters: Filters, edits: &mut Vec<Edit>) {
        if let Some(at) = self.at.as_ref().filter(|_| self.is_signed && !self.is_literal) {
            insert(edits, at.start, "(".into());
            insert(edits, at.end, format!("|{})", filters.number));
        }
        self.is_signed = false;
    }
}

pub(super) fn insert(edits: &mut Vec<Edit>, at: usize, text: String) {
    edits.push(Edit { at: at..at, text });
}
