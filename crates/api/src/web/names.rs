//! The names in a certificate, read from its DER form as far as needed.
//!
//! The certificate was read and verified by others before; anything unexpected here gives no names.

use std::net::IpAddr;

/// The extension that holds the names: 2.5.29.17.
const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1D, 0x11];

const SEQUENCE: u8 = 0x30;
const OBJECT_ID: u8 = 0x06;
const OCTETS: u8 = 0x04;
/// `[3]` of the certificate: its extensions.
const EXTENSIONS: u8 = 0xA3;
const EMAIL: u8 = 0x81;
const DNS: u8 = 0x82;
const URI: u8 = 0x86;
const IP: u8 = 0x87;

/// Host names, addresses, URIs and mail addresses.
pub fn alternative_names(certificate: &[u8]) -> Vec<String> {
    find(certificate).unwrap_or_default()
}

fn find(certificate: &[u8]) -> Option<Vec<String>> {
    let (whole, _) = expect(certificate, SEQUENCE)?;
    let (to_be_signed, _) = expect(whole, SEQUENCE)?;
    let (_, extensions) = elements(to_be_signed).find(|(tag, _)| *tag == EXTENSIONS)?;
    let (extensions, _) = expect(extensions, SEQUENCE)?;
    for (_, extension) in elements(extensions) {
        let (id, _) = expect(extension, OBJECT_ID)?;
        if id != ALTERNATIVE_NAMES {
            continue;
        }
        let (_, value) = elements(extension).find(|(tag, _)| *tag == OCTETS)?;
        let (names, _) = expect(value, SEQUENCE)?;
        return Some(elements(names).filter_map(|(tag, content)| name(tag, content)).collect());
    }
    None
}

fn name(tag: u8, content: &[u8]) -> Option<String> {
    match tag {
        EMAIL | DNS | URI => std::str::from_utf8(content).ok().map(str::to_owned),
        IP => match content.len() {
            4 => <[u8; 4]>::try_from(content).ok().map(|octets| IpAddr::from(octets).to_string()),
            16 => <[u8; 16]>::try_from(content).ok().map(|octets| IpAddr::from(octets).to_string()),
            _ => None,
        },
        _ => None,
    }
}

/// The content of the first element, which has this tag, and what follows it.
fn expect(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = element(bytes)?;
    (found == tag).then_some((content, rest))
}

fn elements(mut bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (tag, content, rest) = element(bytes)?;
        bytes = rest;
        Some((tag, content))
    })
}

fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let length = match first {
        0..=0x7F => usize::from(first),
        0x81..=0x84 => {
            let (digits, after) = rest.split_at_checked(usize::from(first & 0x7F))?;
            rest = after;
            digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit))
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType};
    use vedette_sys::Random;

    use super::*;

    fn certificate() -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["a.example".to_owned()]).expect("a name");
        let text = |text: &str| text.try_into().expect("ASCII");
        params.subject_alt_names.extend([
            SanType::IpAddress("10.1.2.3".parse().expect("an address")),
            SanType::IpAddress("::1".parse().expect("an address")),
            SanType::URI(text("spiffe://x/y")),
            SanType::Rfc822Name(text("a@b.example")),
        ]);
        let key = KeyPair::generate().expect("a key");
        params.self_signed(&key).expect("signs").der().to_vec()
    }

    #[test]
    fn all_kinds_of_names_are_found() {
        let names = alternative_names(&certificate());
        assert_eq!(names, ["a.example", "10.1.2.3", "::1", "spiffe://x/y", "a@b.example"]);
    }

    #[test]
    fn garbage_has_no_names_and_does_no_harm() {
        let whole = certificate();
        for end in 0..whole.len() {
            let _ = alternative_names(&whole[..end]);
        }
        let mut random = Random::new(3);
        for _ in 0..2000 {
            let mut broken = whole.clone();
            for _ in 0..=random.below(4) {
                let place = usize::try_from(random.below(broken.len() as u64)).expect("small");
                broken[place] = u8::try_from(random.below(256)).expect("a byte");
            }
            let _ = alternative_names(&broken);
        }
    }
}
