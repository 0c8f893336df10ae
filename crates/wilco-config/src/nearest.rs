//! The word that was probably meant by a misspelt one.

/// The known word that is nearest, unless even that one is too far away to have been meant.
pub fn nearest<'n>(word: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let distance = |name: &str| strsim::damerau_levenshtein(word, name);
    let near = known.into_iter().min_by_key(|name| distance(name))?;
    (distance(near) <= word.len().max(near.len()) / 3 + 1).then_some(near)
}
