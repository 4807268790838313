//! The tools within a service's own program wrap their help as they do in theirs.

use std::process::Command;

#[test]
fn the_help_of_the_tools_fits_80_columns_here_too() {
    for command in ["", "plan", "wire", "check", "simulate", "verify", "rehearse"] {
        let words = ["rollout"].into_iter().chain(command.split_whitespace()).chain(["--help"]);
        let help = Command::new(env!("CARGO_BIN_EXE_rexi-kv")).args(words).env("COLUMNS", "200").output();
        let text = String::from_utf8(help.expect("the store's tool starts").stdout).expect("UTF-8");
        assert!(text.contains("Usage: rexi-kv rollout"), "{text}");
        let wide = text.lines().find(|line| line.chars().count() > 80);
        assert_eq!(wide, None, "{command}");
    }
}
