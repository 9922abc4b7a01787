//! A door for the fuzz target to what is read of certificates, and good ones to begin with. Built only with
//! `--cfg fuzzing` and for tests, which try each and some changes of it.

use rustls::pki_types::CertificateDer;

use crate::certificate::{self, Certificate, CertificateRole, NAME_CHARS_MAX, TOLD_MAX};

/// The first second of the year 0 and the last of the year 9999, which may be one that leaps.
const TIMES: std::ops::RangeInclusive<i64> = -62_167_219_200..=253_402_300_800;

/// Reads a certificate as one that a server shows, and as one that is trusted.
pub fn certificate(bytes: &[u8]) {
    let one = Certificate::read(CertificateRole::Server, bytes);
    if let Some(one) = &one {
        for name in [&one.subject, &one.issuer] {
            assert!(name.chars().count() <= NAME_CHARS_MAX && !name.contains(char::is_control), "{name:?}");
        }
        assert!(TIMES.contains(&one.not_before_unix_s) && TIMES.contains(&one.not_after_unix_s), "{one:?}");
        assert!(one.has_ended(i64::MAX) && !one.has_ended(i64::MIN));
    }
    // What stands behind it is no part of it.
    let longer = [bytes, b"\x30\x00"].concat();
    assert!(one.is_none() || Certificate::read(CertificateRole::Server, &longer) == one);
    let der = CertificateDer::from_slice(bytes);
    let many = vec![der.clone(); 2 * TOLD_MAX];
    let (shown, trusted) = (certificate::shown(&der, &many), certificate::authorities(&many));
    let known = usize::from(one.is_some());
    assert_eq!((shown.len(), trusted.len()), (2 * known, known), "of one name one is told for each role");
    assert_eq!(certificate::own(&many).is_some(), one.is_some());
}

/// Certificates as they are read: with and without a version, with each form of time, and odd names.
pub fn certificates() -> Vec<Vec<u8>> {
    let (utc, long) = ((0x17, &b"261122103000Z"[..]), (0x18, &b"20501231235959Z"[..]));
    let plain = (0x0c, &b"kube-apiserver"[..]);
    let wide = (0x1e, &b"\0e\0t\0c\0d\xd8\0"[..]);
    [(true, plain, utc, long), (false, wide, utc, utc), (true, (0x13, &b"a\nb\xff"[..]), long, long)]
        .into_iter()
        .map(|(has_version, name, begins, ends)| made(has_version, name, begins, ends))
        .chain([made(true, (0x0c, &[b'x'; 300]), utc, utc)])
        .collect()
}

fn made(has_version: bool, name: (u8, &[u8]), begins: (u8, &[u8]), ends: (u8, &[u8])) -> Vec<u8> {
    let kind = |last| element(0x06, &[0x55, 0x04, last]);
    let named = |last| element(0x31, &element(0x30, &[kind(last), element(name.0, name.1)].concat()));
    let names = element(0x30, &[named(0x0a), named(0x03)].concat());
    let validity = element(0x30, &[element(begins.0, begins.1), element(ends.0, ends.1)].concat());
    let version = if has_version { element(0xa0, &element(0x02, &[2])) } else { Vec::new() };
    let algorithm = element(0x30, &element(0x06, &[0x2b, 0x65, 0x70]));
    let serial = element(0x02, &[1]);
    let signed = [version, serial, algorithm.clone(), names.clone(), validity, names].concat();
    element(0x30, &[element(0x30, &signed), algorithm, element(0x03, &[0; 65])].concat())
}

/// An element of DER; none of these has more than 65535 bytes.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let [high, low] = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
    let length = match length {
        0..=0x7f => vec![low],
        0x80..=0xff => vec![0x81, low],
        _ => vec![0x82, high, low],
    };
    [&[tag], &*length, content].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_to_begin_with_are_read_and_changes_of_them_do_no_harm() {
        let read = |der: &Vec<u8>| Certificate::read(CertificateRole::Server, der).expect("a certificate");
        let told = certificates().iter().map(read).map(|one| one.subject).collect::<Vec<_>>();
        assert_eq!(told[..3], ["kube-apiserver", "etcd\u{fffd}", "a b\u{fffd}"]);
        assert_eq!(told[3], "x".repeat(NAME_CHARS_MAX));
        for der in certificates() {
            certificate(&der);
            for at in 0..der.len() {
                certificate(&der[..at]);
                for flip in [0x01, 0x20, 0x80, 0xff] {
                    let mut broken = der.clone();
                    broken[at] ^= flip;
                    certificate(&broken);
                }
            }
        }
    }
}
