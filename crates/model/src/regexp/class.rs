//! Sets of characters: `[a-z]`, `\d`, `\pL`, `[[:alpha:]]`, and escaped characters.

use std::collections::HashSet;

use regex_syntax::{
    Parser,
    hir::{Class, ClassUnicode, ClassUnicodeRange, HirKind},
};

use super::parser::{Parse, cut, fault};

/// What a backslash and what follows it stand for.
pub(super) enum Escape {
    /// A character; none for a surrogate, which no text contains.
    Char(Option<char>),
    Class(Set),
}

/// A named set of characters.
pub(super) struct Set {
    ranges: Vec<ClassUnicodeRange>,
    negated: bool,
}

impl Set {
    fn of(ranges: &[(char, char)], negated: bool) -> Self {
        Self { ranges: ranges.iter().map(|(a, b)| ClassUnicodeRange::new(*a, *b)).collect(), negated }
    }

    /// As a class; with `fold` letters of either case belong to it before it is negated.
    pub fn class(self, fold: bool) -> ClassUnicode {
        let mut class = ClassUnicode::new(self.ranges);
        if fold {
            class.case_fold_simple();
        }
        if self.negated {
            class.negate();
        }
        class
    }
}

/// A character with those that differ from it only in case, if there are any.
pub(super) fn folded(c: char) -> Option<ClassUnicode> {
    if c.is_ascii() && !c.is_ascii_alphabetic() {
        return None;
    }
    let mut class = ClassUnicode::new([ClassUnicodeRange::new(c, c)]);
    class.case_fold_simple();
    let alone = matches!(class.ranges(), [only] if only.start() == only.end());
    (!alone).then_some(class)
}

/// About the states of the automaton that reads one character of the class.
pub(super) fn cost(class: &ClassUnicode) -> usize {
    1 + class.iter().map(|r| if r.end().is_ascii() { 1 } else { 8 }).sum::<usize>()
}

/// Reads what begins with a backslash, and gives what follows it.
pub(super) fn escape(text: &str) -> Parse<(Escape, &str)> {
    if let Some((set, after)) = class_escape(text)? {
        return Ok((Escape::Class(set), after));
    }
    let (code, after) = escaped_char(text)?;
    Ok((Escape::Char(char::from_u32(code)), after))
}

/// `\d`, `\pL`, `\p{Greek}` and the like.
fn class_escape(text: &str) -> Parse<Option<(Set, &str)>> {
    const DIGIT: &[(char, char)] = &[('0', '9')];
    const SPACE: &[(char, char)] = &[('\t', '\n'), ('\u{c}', '\r'), (' ', ' ')];
    const WORD: &[(char, char)] = &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')];
    let mut rest = text[1..].chars();
    let Some(letter) = rest.next() else { return Ok(None) };
    let negated = letter.is_ascii_uppercase();
    let ranges = match letter.to_ascii_lowercase() {
        'd' => DIGIT,
        's' => SPACE,
        'w' => WORD,
        'p' => return unicode(text, negated).map(Some),
        _ => return Ok(None),
    };
    Ok(Some((Set::of(ranges, negated), rest.as_str())))
}

fn unicode(text: &str, mut negated: bool) -> Parse<(Set, &str)> {
    const BAD: &str = "invalid character class range";
    let (mut name, after) = if text[2..].starts_with('{') {
        let Some((name, after)) = text[3..].split_once('}') else { return fault(BAD, text) };
        (name, after)
    } else {
        let length = text[2..].chars().next().map_or(0, char::len_utf8);
        text[2..].split_at(length)
    };
    if let Some(plain) = name.strip_prefix('^') {
        name = plain;
        negated = !negated;
    }
    let property = if name == "Any" {
        return Ok((Set::of(&[('\0', char::MAX)], negated), after));
    } else if name == "Cs" {
        // Surrogates, which no text contains.
        return Ok((Set::of(&[], negated), after));
    } else if CATEGORIES.split_ascii_whitespace().any(|c| c == name) {
        "gc"
    } else if SCRIPTS.split_ascii_whitespace().any(|s| s == name) {
        "sc"
    } else {
        return fault(BAD, cut(text, after));
    };
    match Parser::new().parse(&format!("\\p{{{property}={name}}}")).map(|hir| hir.into_kind()) {
        Ok(HirKind::Class(Class::Unicode(class))) => {
            Ok((Set { ranges: class.ranges().to_vec(), negated }, after))
        }
        _ => fault(BAD, cut(text, after)),
    }
}

/// General categories as RE2 names them.
const CATEGORIES: &str = "C Cc Cf Cn Co Cs L LC Ll Lm Lo Lt Lu M Mc Me Mn N Nd Nl No P Pc Pd Pe Pf Pi Po Ps \
    S Sc Sk Sm So Z Zl Zp Zs";

/// Scripts as RE2 names them.
const SCRIPTS: &str = "Adlam Ahom Anatolian_Hieroglyphs Arabic Armenian Avestan Balinese Bamum Bassa_Vah \
    Batak Bengali Bhaiksuki Bopomofo Brahmi Braille Buginese Buhid Canadian_Aboriginal Carian \
    Caucasian_Albanian Chakma Cham Cherokee Chorasmian Common Coptic Cuneiform Cypriot Cypro_Minoan Cyrillic \
    Deseret Devanagari Dives_Akuru Dogra Duployan Egyptian_Hieroglyphs Elbasan Elymaic Ethiopic Georgian \
    Glagolitic Gothic Grantha Greek Gujarati Gunjala_Gondi Gurmukhi Han Hangul Hanifi_Rohingya Hanunoo Hatran \
    Hebrew Hiragana Imperial_Aramaic Inherited Inscriptional_Pahlavi Inscriptional_Parthian Javanese Kaithi \
    Kannada Katakana Kawi Kayah_Li Kharoshthi Khitan_Small_Script Khmer Khojki Khudawadi Lao Latin Lepcha \
    Limbu Linear_A Linear_B Lisu Lycian Lydian Mahajani Makasar Malayalam Mandaic Manichaean Marchen \
    Masaram_Gondi Medefaidrin Meetei_Mayek Mende_Kikakui Meroitic_Cursive Meroitic_Hieroglyphs Miao Modi \
    Mongolian Mro Multani Myanmar Nabataean Nag_Mundari Nandinagari New_Tai_Lue Newa Nko Nushu \
    Nyiakeng_Puachue_Hmong Ogham Ol_Chiki Old_Hungarian Old_Italic Old_North_Arabian Old_Permic Old_Persian \
    Old_Sogdian Old_South_Arabian Old_Turkic Old_Uyghur Oriya Osage Osmanya Pahawh_Hmong Palmyrene \
    Pau_Cin_Hau Phags_Pa Phoenician Psalter_Pahlavi Rejang Runic Samaritan Saurashtra Sharada Shavian Siddham \
    SignWriting Sinhala Sogdian Sora_Sompeng Soyombo Sundanese Syloti_Nagri Syriac Tagalog Tagbanwa Tai_Le \
    Tai_Tham Tai_Viet Takri Tamil Tangsa Tangut Telugu Thaana Thai Tibetan Tifinagh Tirhuta Toto Ugaritic Vai \
    Vithkuqi Wancho Warang_Citi Yezidi Yi Zanabazar_Square";

/// The sets of POSIX, without `[:` and `:]`.
fn posix(name: &str) -> Option<Set> {
    let (negated, name) = name.strip_prefix('^').map_or((false, name), |plain| (true, plain));
    let ranges: &[(char, char)] = match name {
        "alnum" => &[('0', '9'), ('A', 'Z'), ('a', 'z')],
        "alpha" => &[('A', 'Z'), ('a', 'z')],
        "ascii" => &[('\0', '\u{7f}')],
        "blank" => &[('\t', '\t'), (' ', ' ')],
        "cntrl" => &[('\0', '\u{1f}'), ('\u{7f}', '\u{7f}')],
        "digit" => &[('0', '9')],
        "graph" => &[('!', '~')],
        "lower" => &[('a', 'z')],
        "print" => &[(' ', '~')],
        "punct" => &[('!', '/'), (':', '@'), ('[', '`'), ('{', '~')],
        "space" => &[('\t', '\r'), (' ', ' ')],
        "upper" => &[('A', 'Z')],
        "word" => &[('0', '9'), ('A', 'Z'), ('a', 'z'), ('_', '_')],
        "xdigit" => &[('0', '9'), ('A', 'F'), ('a', 'f')],
        _ => return None,
    };
    Some(Set::of(ranges, negated))
}

/// Reads `[…]`, and gives what follows it. In the last `after_names` bytes is no name of a class;
/// otherwise each of many brackets might look for its end in vain.
pub(super) fn bracketed(text: &str, fold: bool, after_names: usize) -> Parse<(ClassUnicode, &str)> {
    let mut ranges: Vec<ClassUnicodeRange> = Vec::new();
    // Single characters and ranges, of which letters of the other case are found all at once.
    let mut written: Vec<ClassUnicodeRange> = Vec::new();
    // Unicode classes are large, so each is looked up once only.
    let mut seen: HashSet<&str> = HashSet::new();
    let inner = &text[1..];
    let (negated, mut rest) = inner.strip_prefix('^').map_or((false, inner), |rest| (true, rest));
    let mut first = true;
    while first || !rest.starts_with(']') {
        first = false;
        if rest.starts_with("[:")
            && rest.len() > after_names
            && let Some(end) = rest[2..].find(":]")
        {
            let (name, after) = rest.split_at(2 + end + 2);
            let Some(set) = posix(&name[2..2 + end]) else {
                return fault("invalid character class range", name);
            };
            ranges.extend(set.class(fold).iter());
            rest = after;
            continue;
        }
        if let Some(name) = unicode_name(rest).filter(|name| seen.contains(name)) {
            rest = &rest[name.len()..];
            continue;
        }
        if rest.starts_with('\\')
            && let Some((set, after)) = class_escape(rest)?
        {
            ranges.extend(set.class(fold).iter());
            if rest[1..].starts_with(['p', 'P']) {
                seen.insert(cut(rest, after));
            }
            rest = after;
            continue;
        }
        let start = rest;
        let (low, mut after) = class_char(rest, text)?;
        let mut high = low;
        if let Some(end) = after.strip_prefix('-').filter(|end| !end.is_empty() && !end.starts_with(']')) {
            (high, after) = class_char(end, text)?;
            if high < low {
                return fault("invalid character class range", cut(start, after));
            }
        }
        rest = after;
        // Surrogates are left out: no text contains them.
        let low = char::from_u32(low).unwrap_or('\u{e000}');
        let high = char::from_u32(high).unwrap_or('\u{d7ff}');
        if low > high {
            continue;
        }
        written.push(ClassUnicodeRange::new(low, high));
    }
    let mut written = ClassUnicode::new(written);
    if fold {
        written.case_fold_simple();
    }
    ranges.extend(written.iter());
    let mut class = ClassUnicode::new(ranges);
    if negated {
        class.negate();
    }
    Ok((class, &rest[1..]))
}

/// What stands for a Unicode class at the beginning of `text`, as it is written.
fn unicode_name(text: &str) -> Option<&str> {
    let name = text.strip_prefix("\\p").or_else(|| text.strip_prefix("\\P"))?;
    let length = match name.strip_prefix('{') {
        // Names are short.
        Some(inner) => 2 + inner.bytes().take(64).position(|b| b == b'}')?,
        None => name.chars().next()?.len_utf8(),
    };
    Some(&text[..2 + length])
}

/// A character between brackets that begin at `whole`.
fn class_char<'t>(text: &'t str, whole: &str) -> Parse<(u32, &'t str)> {
    match text.chars().next() {
        None => fault("missing closing ]", whole),
        Some('\\') => escaped_char(text),
        Some(c) => Ok((c as u32, &text[c.len_utf8()..])),
    }
}

/// The code of an escaped character, which may be that of a surrogate.
fn escaped_char(text: &str) -> Parse<(u32, &str)> {
    let mut rest = text[1..].chars();
    let Some(c) = rest.next() else { return fault("trailing backslash at end of expression", "") };
    let code = match c {
        '0'..='7' if c == '0' || rest.as_str().starts_with(|d: char| ('0'..='7').contains(&d)) => {
            let mut code = c as u32 - '0' as u32;
            for _ in 0..2 {
                let Some(digit) = rest.clone().next().and_then(|d| d.to_digit(8)) else { break };
                code = code * 8 + digit;
                rest.next();
            }
            Some(code)
        }
        'x' => hexadecimal(&mut rest),
        'a' => Some(7),
        'f' => Some(12),
        'n' => Some(10),
        'r' => Some(13),
        't' => Some(9),
        'v' => Some(11),
        c if c.is_ascii() && !c.is_ascii_alphanumeric() => Some(c as u32),
        _ => None,
    };
    match code {
        Some(code) => Ok((code, rest.as_str())),
        None => fault("invalid escape sequence", cut(text, rest.as_str())),
    }
}

/// `41` or `{10FFFF}` after `\x`.
fn hexadecimal(rest: &mut std::str::Chars<'_>) -> Option<u32> {
    let first = rest.next()?;
    if first != '{' {
        let second = rest.next()?;
        return Some(first.to_digit(16)? * 16 + second.to_digit(16)?);
    }
    let mut code = None;
    loop {
        match rest.next()? {
            '}' => return code,
            digit => {
                let larger = code.unwrap_or(0) * 16 + digit.to_digit(16)?;
                code = Some(larger).filter(|c| *c <= char::MAX as u32);
                code?;
            }
        }
    }
}
