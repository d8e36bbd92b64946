//! The keys of the attribute.

/// Each key with an example of its value.
pub(crate) const KEYS: [(&str, &str); 13] = [
    ("name", "\"math:add\""),
    ("queue", "\"math\""),
    ("priority", "\"high\""),
    ("max_retries", "5"),
    ("timeout", "\"30s\""),
    ("soft_timeout", "\"20s\""),
    ("expires", "\"1h\""),
    ("delay", "\"10s\""),
    ("backoff", "\"exponential 1s 3 1h\""),
    ("retry_on", "\"errors, timeouts\""),
    ("status_ttl", "\"1d\""),
    ("result_ttl", "\"1h\""),
    ("crate", "\"::windlass\""),
];

/// An example of the value of a key.
pub(crate) fn example(key: &str) -> &'static str {
    KEYS.iter().find(|(known, _)| *known == key).map_or("", |(_, example)| example)
}

/// The text for a key that is not known: the nearest, and all.
pub(crate) fn unknown(key: &str) -> String {
    let all = KEYS.map(|(known, _)| known).join(", ");
    match nearest(key) {
        Some(near) => format!("unknown key `{key}`: did you mean `{near}`? the keys are: {all}"),
        None => format!("unknown key `{key}`: the keys are: {all}"),
    }
}

fn nearest(key: &str) -> Option<&'static str> {
    let part = |known: &&str| key.len() > 2 && (known.contains(key) || key.contains(known));
    let known = || KEYS.iter().map(|(known, _)| *known);
    let closest = known().min_by_key(|known| distance(key, known))?;
    if distance(key, closest) <= 1 + key.len() / 4 { Some(closest) } else { known().find(part) }
}

/// How many characters must be inserted, removed or changed to get from one text to the other.
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.chars().enumerate() {
            let change = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.chars().count()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits() {
        for (from, to, edits) in [("", "abc", 3), ("kitten", "sitting", 3), ("flaw", "lawn", 2), ("same", "same", 0)] {
            assert_eq!(distance(from, to), edits, "{from} -> {to}");
            assert_eq!(distance(to, from), edits, "{to} -> {from}");
        }
    }

    #[test]
    fn the_nearest_key_is_named_and_nothing_is_guessed() {
        for (key, near) in [
            ("timout", Some("timeout")),
            ("retries", Some("max_retries")),
            ("max_retry", Some("max_retries")),
            ("ttl", Some("status_ttl")),
            ("expire", Some("expires")),
            ("prio", Some("priority")),
            ("weight", None),
            ("x", None),
        ] {
            assert_eq!(nearest(key), near, "{key}");
        }
    }
}
