//! `synchronous_commit`: what a commit waits for.

/// Its values, weakest first; the server takes other spellings too.
pub const LEVELS: [&str; 5] = ["off", "local", "remote_write", "on", "remote_apply"];

/// Whether commits wait for synchronous standbys, where there are any. The spellings are those of the server's
/// `synchronous_commit_options` (`guc.c`), in any case; `None`: it is none of them.
pub fn waits_for_standbys(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "off" | "local" | "false" | "no" | "0" => Some(false),
        "remote_write" | "on" | "remote_apply" | "true" | "yes" | "1" => Some(true),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_means_what_the_server_takes_it_for() {
        for (value, waits) in [
            ("off", Some(false)),
            ("No", Some(false)),
            ("FALSE", Some(false)),
            ("0", Some(false)),
            ("Local", Some(false)),
            ("on", Some(true)),
            ("1", Some(true)),
            ("remote_APPLY", Some(true)),
            // Unlike a boolean, it takes no prefixes.
            ("f", None),
            ("remote_aply", None),
        ] {
            assert_eq!(waits_for_standbys(value), waits, "{value}");
        }
        assert!(LEVELS.iter().all(|level| waits_for_standbys(level).is_some()));
    }
}
