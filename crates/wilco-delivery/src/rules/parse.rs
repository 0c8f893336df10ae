//! Rules as texts of the configuration file: their errors have a span and a hint.

use wilco_config::TextError;

use super::{Rule, RuleError, Text};

impl Rule {
    /// Like [`Rule::new`], with the span and a hint for a text of the configuration file.
    ///
    /// # Errors
    ///
    /// The text is not an expression, or names what does not exist.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        Self::new(text).map_err(|error| error.in_file(text))
    }
}

impl Text {
    /// Like [`Text::new`], with the span and a hint for a text of the configuration file.
    ///
    /// # Errors
    ///
    /// The text is not a template, or names what does not exist.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        Self::new(text).map_err(|error| error.in_file(text))
    }
}

impl RuleError {
    fn in_file(self, text: &str) -> TextError {
        let rest = self.place.as_ref().and_then(|place| text.get(place.start..));
        let is_assignment =
            rest.is_some_and(|rest| rest.starts_with('=') && !rest.starts_with("=="));
        let hint = if is_assignment { "write == to compare" } else { HINT };
        TextError { message: self.what, span: self.place, hint: hint.into() }
    }
}

const HINT: &str = "it is Jinja, as in Ansible; see docs/rules.md";
