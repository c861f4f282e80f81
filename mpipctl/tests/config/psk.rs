// SPDX-License-Identifier: GPL-2.0

//! The pre-shared key: the files name a file that has it, the kernel does not tell it.

use super::*;

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";
const HEADER: &str =
    "# The configuration of MPIP, see mpip(5). What is not here has its default.\n";
const FILE: &str = "/etc/mpip/the key";
const TOML: &str = "psk = '/etc/mpip/the key'\n";

/// On, nothing set, and with a key or not; `same` if it is asked whether it is that of a file.
fn kernel(has_psk: u8, same: Option<u8>) -> Kernel {
    let node = |has| {
        vec![
            reply(0, &[u8(NODE_ENABLED, 1), u8(NODE_HAS_PSK, has)]),
            ack(),
        ]
    };
    let kernel = Kernel::new().answer(CMD_GET, node(has_psk));
    let kernel = same
        .into_iter()
        .fold(kernel, |kernel, same| kernel.answer(CMD_GET, node(same)));
    kernel
        .answer(CMD_PARAM_GET, dump(&[]))
        .answer(CMD_PREFIX_GET, dump(&[]))
        .answer(CMD_INTERFACE_GET, dump(&[]))
        .answer(CMD_RULE_GET, dump(&[]))
}

fn system(kernel: Kernel, text: &str) -> Fake {
    Fake::new(kernel).file(MAIN, text).file(FILE, KEY)
}

#[test]
fn it_is_set_unless_it_is_there() {
    for (has, same, text, expected) in [
        (0, None, TOML, "psk set '/etc/mpip/the key'\n"),
        (1, Some(0), TOML, "psk set '/etc/mpip/the key'\n"),
        (1, Some(1), TOML, ""),
        (1, None, "", "psk clear\n"),
        (0, None, "", ""),
    ] {
        let told = told("mpipctl config diff", &system(kernel(has, same), text));
        assert_eq!(told.text, expected, "{has} {same:?} {text}");
    }
    let kernel = kernel(1, Some(0)).answer(CMD_SET, vec![ack()]);
    let requests = kernel.requests();
    says("mpipctl config apply", &system(kernel, TOML));
    let bytes: Vec<u8> = (0..32).collect();
    let sent = requests.lock().unwrap();
    assert_eq!(
        sent.last().map(|last| &last[4..]),
        Some(&attr(NODE_PSK, &bytes)[..])
    );
    assert!(
        sent[5][4..] == attr(NODE_PSK, &bytes),
        "it was asked for: {:?}",
        sent[5]
    );
}

/// MPIP without its key would have anybody for a peer: nothing is lenient here.
#[test]
fn mistakes_with_keys() {
    for (key, text, place, why) in [
        (
            KEY,
            "psk = 7\n",
            "1:7",
            "psk: not the name of a file in quotes: 7",
        ),
        (
            KEY,
            "psk = 'nowhere'\n",
            "1:7",
            "psk: cannot read \"nowhere\": ",
        ),
        (
            "5ec4e7",
            TOML,
            "1:7",
            "psk: \"/etc/mpip/the key\": 6 hexadecimal digits instead of 64",
        ),
    ] {
        for line in ["mpipctl config check", "mpipctl config apply --lenient"] {
            let system = Fake::new(kernel(0, None)).file(MAIN, text).file(FILE, key);
            let (status, message) = told(line, &system).error.unwrap();
            assert_eq!(status, 1);
            assert!(
                message.starts_with(&format!("{MAIN}:{place}: {why}")),
                "{message}"
            );
            assert!(!message.contains("5ec4e7"), "{message}");
        }
    }
}

#[test]
fn what_is_saved_names_the_file_still() {
    for (has, same, text, saved, warnings) in [
        (1, Some(1), TOML, TOML, 0),
        (1, Some(0), TOML, TOML, 1),
        (0, None, TOML, "", 0),
        (1, None, "", "enabled = true", 1),
    ] {
        let system = system(kernel(has, same), text);
        let told = told("mpipctl config save", &system);
        assert_eq!(told.error, None);
        assert_eq!(
            told.warnings.len(),
            warnings,
            "{has} {same:?}: {:?}",
            told.warnings
        );
        let written = system.read(MAIN).unwrap();
        assert_eq!(
            written.replace(HEADER, "").trim(),
            saved.trim(),
            "{has} {same:?}"
        );
    }
}

/// What failed afterwards is undone, but nobody knows the old key.
#[test]
fn a_key_stays_when_the_rest_is_undone() {
    let node = vec![reply(0, &[u8(NODE_ENABLED, 1), u8(NODE_HAS_PSK, 1)]), ack()];
    let kernel = kernel(0, None)
        .answer(CMD_SET, vec![ack()])
        .answer(CMD_SET, vec![refusal(12, &[])])
        .answer(CMD_GET, node)
        .answer(CMD_PARAM_GET, dump(&[]))
        .answer(CMD_PREFIX_GET, dump(&[]))
        .answer(CMD_INTERFACE_GET, dump(&[]))
        .answer(CMD_RULE_GET, dump(&[]));
    let text = format!("enabled = false\n{TOML}");
    let told = told("mpipctl config apply", &system(kernel, &text));
    assert_eq!(told.error.map(|(status, _)| status), Some(2));
    assert_eq!(
        told.warnings,
        ["the pre-shared key was changed before the error, and stays so"]
    );
}

#[test]
fn others_should_not_be_able_to_read_it() {
    let warning = format!(
        "{MAIN}:1:7: psk: \"{FILE}\": its mode 644 lets others than its owner have the key; \
         try: chmod 600 '{FILE}'"
    );
    let system = |kernel| system(kernel, TOML).mode(FILE, 0o644);
    for line in ["mpipctl config check", "mpipctl config apply"] {
        let told = told(line, &system(kernel(1, Some(1))));
        assert_eq!(told.error, None);
        assert_eq!(told.warnings, [warning.as_str()], "{line}");
    }
}

/// The key is changed, and MPIP does not come on with it: what was on is on again, or that is told.
#[test]
fn mpip_is_not_left_off() {
    const NO_MEMORY: i32 = 12;
    let off = |has| {
        let attrs = [u8(NODE_ENABLED, 0), u8(NODE_HAS_PSK, has)];
        vec![reply(0, &attrs), ack()]
    };
    let failing = || {
        kernel(0, None)
            .answer(CMD_SET, vec![refusal(NO_MEMORY, &[])])
            // Has it the key, and what else has it?
            .answer(CMD_GET, off(1))
            .answer(CMD_GET, off(1))
            .answer(CMD_PARAM_GET, dump(&[]))
            .answer(CMD_PREFIX_GET, dump(&[]))
            .answer(CMD_INTERFACE_GET, dump(&[]))
            .answer(CMD_RULE_GET, dump(&[]))
    };
    let changed = "the pre-shared key was changed before the error, and stays so";
    let on = told(
        "mpipctl config apply",
        &system(failing().answer(CMD_SET, vec![ack()]), TOML),
    );
    let message = format!(
        "{MAIN}:1:7: psk set '/etc/mpip/the key': the kernel refused: Cannot allocate memory"
    );
    assert_eq!(on.error, Some((2, message.clone())));
    assert_eq!(on.warnings, [changed]);

    let kernel = failing()
        .answer(CMD_SET, vec![refusal(NO_MEMORY, &[])])
        .answer(CMD_GET, off(1))
        .answer(CMD_SET, vec![refusal(NO_MEMORY, &[])]);
    let off = told("mpipctl config apply", &system(kernel, TOML));
    let (status, text) = off.error.unwrap();
    assert_eq!(status, 2);
    assert_eq!(
        text,
        message + "; MPIP has ended and could not begin anew: it is off; try: mpipctl enable"
    );
    assert_eq!(off.warnings.len(), 2, "{:?}", off.warnings);
}
