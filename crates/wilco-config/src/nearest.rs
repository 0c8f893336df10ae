//! What was probably meant by a misspelt word.

use std::collections::BTreeSet;

/// The known word that is nearest, unless even that one is too far away to have been meant.
pub fn nearest<'n>(word: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let distance = |name: &str| strsim::damerau_levenshtein(word, name);
    let near = known.into_iter().min_by_key(|name| distance(name))?;
    (distance(near) <= word.len().max(near.len()) / 3 + 1).then_some(near)
}

/// `; did you mean erp?`, or nothing.
pub fn did_you_mean<'n>(word: &str, known: impl IntoIterator<Item = &'n str>) -> String {
    nearest(word, known).map_or_else(String::new, |near| format!("; did you mean {near}?"))
}

/// What to write instead of a name that does not exist, for the end of a message: `; did you mean erp?`, or
/// `; known: crm, erp` if none of them is near.
pub fn known_instead<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> String {
    let known: BTreeSet<&str> = known.into_iter().collect();
    let near = did_you_mean(name, known.iter().copied());
    if !near.is_empty() || known.is_empty() {
        return near;
    }
    let shown: Vec<_> = known.iter().copied().take(KNOWN_SHOWN).collect();
    let more = match known.len() - shown.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("; known: {}{more}", shown.join(", "))
}

const KNOWN_SHOWN: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_gets_the_nearest_one_and_any_other_all_of_them() {
        let many: Vec<_> = (10..40).map(|number| format!("crew-{number}")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        let first = many[..20].join(", ");
        for (name, known, expected) in [
            ("epr", &["erp", "crm"][..], "; did you mean erp?".into()),
            ("nowhere", &["erp", "crm", "erp"], "; known: crm, erp".into()),
            ("nowhere", &many, format!("; known: {first} and 10 more")),
            ("nowhere", &[], String::new()),
        ] {
            assert_eq!(known_instead(name, known.iter().copied()), expected, "{name}");
        }
    }
}
