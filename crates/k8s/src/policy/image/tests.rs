//! Names in real and hostile shapes, and laws that hold for all of them.

use proptest::prelude::*;

use super::*;

fn hex(count: usize) -> String {
    "0123456789abcdef".chars().cycle().take(count).collect()
}

#[test]
fn names_have_one_form() {
    let digest = format!("sha256:{}", hex(64));
    // What is written; registry, path, tag, and whether there is a digest.
    for (text, registry, path, tag, is_pinned) in [
        ("nginx", "docker.io", "library/nginx", None, false),
        ("nginx:1.27", "docker.io", "library/nginx", Some("1.27"), false),
        ("library/nginx", "docker.io", "library/nginx", None, false),
        ("docker.io/nginx", "docker.io", "library/nginx", None, false),
        ("index.docker.io/nginx", "docker.io", "library/nginx", None, false),
        ("Docker.IO/nginx", "docker.io", "library/nginx", None, false),
        ("docker.io:443/nginx", "docker.io", "library/nginx", None, false),
        ("acme/app", "docker.io", "acme/app", None, false),
        ("ghcr.io/acme/app:v1", "ghcr.io", "acme/app", Some("v1"), false),
        ("GHCR.io:443/acme/app", "ghcr.io", "acme/app", None, false),
        ("localhost/app", "localhost", "app", None, false),
        ("localhost:5000/app:1", "localhost:5000", "app", Some("1"), false),
        ("Registry/app", "Registry", "app", None, false),
        ("registry:443/app", "registry:443", "app", None, false),
        ("registry/app", "docker.io", "registry/app", None, false),
        ("[::1]:5000/a/b:c", "[::1]:5000", "a/b", Some("c"), false),
        ("[fe80::1]/a", "[fe80::1]", "a", None, false),
        ("10.0.0.1:5000/a__b/c--d.e_f", "10.0.0.1:5000", "a__b/c--d.e_f", None, false),
        // No host: a tag of a name without one.
        ("registry:5000", "docker.io", "library/registry", Some("5000"), false),
        (&*format!("nginx@{digest}"), "docker.io", "library/nginx", None, true),
        (&*format!("ghcr.io/a/b:v1@{digest}"), "ghcr.io", "a/b", Some("v1"), true),
        (&*format!("a@sha512:{}", hex(128)), "docker.io", "library/a", None, true),
    ] {
        let name = ImageName::parse(text).unwrap_or_else(|| panic!("{text} is none"));
        assert_eq!((&*name.registry, &*name.path, name.tag), (registry, path, tag), "{text}");
        assert_eq!(name.digest.is_some(), is_pinned, "{text}");
        assert_eq!(name.repository(), format!("{registry}/{path}"));
        let tagged = format!("{registry}/{path}:{}", tag.unwrap_or("latest"));
        assert_eq!(name.tagged(), (!is_pinned).then_some(tagged), "{text}");
    }
}

#[test]
fn what_no_runtime_takes_is_no_name() {
    let long = "a".repeat(256);
    for text in [
        "",
        "/",
        "a/",
        "/a",
        "a//b",
        "ghcr.io/",
        "ghcr.io/acme/../evil",
        "ghcr.io/./evil",
        "ghcr.io/acme/Evil",
        "ghcr.io/acme/a b",
        "ghcr.io/acme/a\nallowed.example.com/b",
        "ghcr.io\0.evil.com/a",
        "ghcr.io@evil.com/a",
        "https://ghcr.io/acme/app",
        "ghcr.io:port/a",
        "ghcr.io:/a",
        "ghcr..io/a",
        "-ghcr.io/a",
        "ghcr.io./a",
        "[::1/a",
        "[::1]5000/a",
        "[]/a",
        "[g::1]/a",
        "ghcr.io/a:",
        "ghcr.io/a:b:c",
        "ghcr.io/a:b/c",
        "ghcr.io/a:.b",
        "ghcr.io/a___b",
        "ghcr.io/a..b",
        "ghcr.io/a._b",
        "ghcr.io/-a",
        "ghcr.io/a-",
        "ghcr.io/%61",
        "ghcr.io/ａ",
        "ｇhcr.io/a",
        "a@",
        "a@sha256:",
        "a@sha256:0123",
        "a@md5:0123456789abcdef0123456789abcdef",
        &format!("a@sha256:{}", hex(64).to_uppercase()),
        &format!("a@sha256:{}@sha256:{}", hex(64), hex(64)),
        &format!("a@sha512:{}", hex(64)),
        &hex(64),
        &long,
        &format!("a:{}", "b".repeat(129)),
        &format!("{}.com/a", "h".repeat(256)),
        &"a/".repeat(1 << 20),
    ] {
        assert_eq!(ImageName::parse(text), None, "{}", &text[..text.floor_char_boundary(80)]);
    }
}

#[test]
fn a_list_allows_whole_parts_and_no_more() {
    // What is allowed, images that are, and images that are not.
    let table: [(&str, &[&str], &[&str]); 11] = [
        ("docker.io", &["nginx", "acme/app", "index.docker.io/x"], &["docker.io.evil.com/x", "ghcr.io/x"]),
        ("docker.io/library", &["nginx:1", "library/redis"], &["acme/app", "librarian/x", "library-x/y"]),
        ("index.docker.io/library", &["nginx"], &["acme/app"]),
        ("docker.io/library/nginx", &["nginx", "docker.io/nginx:9"], &["nginx-evil", "redis"]),
        (
            "ghcr.io/acme/",
            &["ghcr.io/acme/app", "GHCR.IO:443/acme/a/b"],
            &["ghcr.io/acme-evil/app", "ghcr.io/app"],
        ),
        (
            "registry.example:5000",
            &["registry.example:5000/a"],
            &["registry.example/a", "registry.example:50001/a"],
        ),
        (
            "*.example.com",
            &["a.example.com/x", "a.b.example.com/x"],
            &["example.com/x", "a.example.com.evil.com/x"],
        ),
        (
            "ghcr.io/team-*/app",
            &["ghcr.io/team-a/app", "ghcr.io/team-b/app/x"],
            &["ghcr.io/team-a/b/app", "ghcr.io/team-a"],
        ),
        ("*.dkr.ecr.*.amazonaws.com", &["1.dkr.ecr.eu-1.amazonaws.com/x"], &["1.dkr.ecr.amazonaws.com/x"]),
        ("localhost:5000/a*b*c", &["localhost:5000/abc", "localhost:5000/a1b2bc"], &["localhost:5000/acb"]),
        ("[::1]:5000", &["[::1]:5000/a"], &["[::1]/a", "[::2]:5000/a"]),
    ];
    for (written, allowed, refused) in table {
        let registry: AllowedRegistry = written.parse().unwrap_or_else(|error| panic!("{written}: {error}"));
        let allows = |image: &&str| registry.allows(&ImageName::parse(image).expect("a name"));
        assert_eq!(allowed.iter().filter(|image| !allows(image)).count(), 0, "{written}: {allowed:?}");
        assert_eq!(refused.iter().filter(|image| allows(image)).count(), 0, "{written}: {refused:?}");
    }
    for (written, part) in [
        ("", "begin with the host"),
        ("nginx", "begin with the host"),
        ("library/nginx", "begin with the host"),
        ("*", "begin with the host"),
        ("https://ghcr.io", "the host has letters"),
        ("*.*", "without a star"),
        ("registry.*", "without a star"),
        ("ghcr.io*", "without a star"),
        ("*:5000", "without a star"),
        ("ghcr.io/acme/app:1", "without a tag"),
        ("ghcr.io//a", "the path"),
        ("ghcr.io/..", "the path"),
        ("ghcr.io/Acme", "the path"),
        ("gh cr.io", "the host has letters"),
    ] {
        let error = written.parse::<AllowedRegistry>().expect_err(written);
        assert!(error.contains(part), "{written}: {error}");
    }
}

/// Parts that are right by the grammar.
fn parts() -> impl Strategy<Value = (Option<String>, Vec<String>, Option<String>, bool)> {
    let host = prop_oneof![
        "[a-z0-9]{1,6}(\\.[a-z0-9]{1,6}){1,3}",
        "[a-z0-9]{1,6}(\\.[a-z]{1,6}){1,2}:[1-9][0-9]{0,3}",
        Just("localhost".to_owned()),
    ];
    let path = prop::collection::vec("[a-z0-9]{1,5}((\\.|_|__|-{1,3})[a-z0-9]{1,5}){0,2}", 1..5);
    (prop::option::of(host), path, prop::option::of("[A-Za-z0-9_][A-Za-z0-9_.-]{0,10}"), any::<bool>())
}

proptest! {
    #[test]
    fn a_name_gives_its_parts_back((host, path, tag, is_pinned) in parts()) {
        let path = path.join("/");
        // Without a host, the first of several parts must not look like one.
        prop_assume!(host.is_some() || !path.contains('/') || !path.split('/').next().unwrap_or_default().contains('.'));
        prop_assume!(host.is_some() || !path.starts_with("localhost/"));
        let text = format!(
            "{}{path}{}{}",
            host.as_deref().map(|host| format!("{host}/")).unwrap_or_default(),
            tag.as_deref().map(|tag| format!(":{tag}")).unwrap_or_default(),
            if is_pinned { format!("@sha256:{}", hex(64)) } else { String::new() },
        );
        let name = ImageName::parse(&text).expect("a name");
        let by_default = host.is_none();
        let wanted_host = host.unwrap_or_else(|| "docker.io".to_owned());
        prop_assert_eq!(&name.registry, wanted_host.strip_suffix(":443").unwrap_or(&wanted_host));
        let in_library = (by_default || name.registry == "docker.io") && !path.contains('/');
        let wanted_path = if in_library { format!("library/{path}") } else { path };
        prop_assert_eq!(&name.path, &wanted_path);
        prop_assert_eq!((name.tag, name.digest.is_some()), (tag.as_deref(), is_pinned));
        // The one form is its own.
        let again = name.repository();
        let again = ImageName::parse(&again).expect("a name");
        prop_assert_eq!((&again.registry, &again.path), (&name.registry, &name.path));
        // Every beginning of whole parts allows it; what only begins like it does not.
        let whole = name.repository();
        for (at, _) in whole.match_indices('/').chain([(whole.len(), "")]) {
            let allowed: AllowedRegistry = whole[..at].parse().expect("a registry");
            prop_assert!(allowed.allows(&name), "{}", &whole[..at]);
            let longer = format!("{}x", &whole[..at]);
            prop_assert!(!longer.parse::<AllowedRegistry>().is_ok_and(|other| other.allows(&name)), "{}", longer);
        }
    }

    #[test]
    fn nothing_that_is_written_breaks_it(text in "\\PC{0,80}", pattern in "[a-z*./:@-]{0,24}") {
        if let Some(name) = ImageName::parse(&text) {
            let again = name.repository();
            prop_assert!(ImageName::parse(&again).is_some_and(|other| other.repository() == again));
            if let Ok(allowed) = pattern.parse::<AllowedRegistry>() {
                let _ = allowed.allows(&name);
            }
        }
    }

    #[test]
    fn names_of_few_letters_are_read_or_refused_but_have_one_form(text in "[aA./:@_*-]{0,12}") {
        if let Some(name) = ImageName::parse(&text) {
            let again = name.repository();
            prop_assert!(ImageName::parse(&again).is_some_and(|other| other.repository() == again), "{}", text);
        }
    }

    #[test]
    fn stars_match_as_a_slow_reader_says(pattern in "[ab*]{0,7}", text in "[ab]{0,9}") {
        fn slow(pattern: &[u8], text: &[u8]) -> bool {
            match (pattern.split_first(), text.split_first()) {
                (None, None) => true,
                (Some((b'*', rest)), _) => slow(rest, text) || text.split_first().is_some_and(|(_, text)| slow(pattern, text)),
                (Some((wanted, pattern)), Some((letter, text))) => wanted == letter && slow(pattern, text),
                _ => false,
            }
        }
        prop_assert_eq!(matches(&pattern, &text), slow(pattern.as_bytes(), text.as_bytes()));
    }
}
