//! When certificates end, and whose they are: as much of X.509 as that needs.
//!
//! What is read here decides nothing: whom one trusts is the business of rustls. Certificates are foreign
//! bytes; what cannot be read is passed over.

use rustls::pki_types::CertificateDer;

/// A name is not shown beyond this.
pub(crate) const NAME_CHARS_MAX: usize = 128;
/// Of a chain, or of a list of trust, no more are told.
pub(crate) const TOLD_MAX: usize = 16;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_ID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const BMP_STRING: u8 = 0x1e;
/// The version of a certificate, which the oldest do not have.
const VERSION: u8 = 0xa0;
/// `id-at-commonName` and `id-at-organizationName`, encoded.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const ORGANIZATION: &[u8] = &[0x55, 0x04, 0x0a];

/// What a certificate is for, seen from the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CertificateRole {
    /// The server showed it as its own.
    Server,
    /// The server showed it to lead from its own to somebody whom one trusts.
    ServerChain,
    /// We show it.
    Client,
    /// It is in the list of trust.
    Authority,
}

/// A certificate and how long it is valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// What it is for.
    pub role: CertificateRole,
    /// The common name of whom it is about, else the organization; empty where it has neither.
    pub subject: String,
    /// The same of who signed it.
    pub issuer: String,
    /// When it begins, in seconds since the Unix epoch.
    pub not_before_unix_s: i64,
    /// When it ends, in seconds since the Unix epoch.
    pub not_after_unix_s: i64,
}

impl Certificate {
    /// Reads a certificate; `None` where it is none.
    pub(crate) fn read(role: CertificateRole, der: &[u8]) -> Option<Self> {
        let certificate = Der(der).take(SEQUENCE)?;
        let mut signed = Der(Der(certificate).take(SEQUENCE)?);
        let (tag, _) = signed.next()?;
        if tag == VERSION {
            // The serial number.
            signed.next()?;
        }
        let _algorithm = signed.take(SEQUENCE)?;
        let issuer = name(signed.take(SEQUENCE)?);
        let mut validity = Der(signed.take(SEQUENCE)?);
        let not_before_unix_s = time(validity.next()?)?;
        let not_after_unix_s = time(validity.next()?)?;
        let subject = name(signed.take(SEQUENCE)?);
        Some(Self { role, subject, issuer, not_before_unix_s, not_after_unix_s })
    }

    /// Whether it can no longer be used at this time.
    pub fn has_ended(&self, unix_s: i64) -> bool {
        self.not_after_unix_s < unix_s
    }
}

/// What a server showed: its own certificate first.
pub(crate) fn shown(own: &CertificateDer<'_>, chain: &[CertificateDer<'_>]) -> Vec<Certificate> {
    let own = Certificate::read(CertificateRole::Server, own);
    let chain = chain.iter().filter_map(|der| Certificate::read(CertificateRole::ServerChain, der));
    let mut told: Vec<Certificate> = own.into_iter().collect();
    for one in chain {
        let same = told.iter().position(|known| (known.role, &known.subject) == (one.role, &one.subject));
        match same {
            // Of two of the same name the chain lasts as long as the first that ends.
            Some(at) if told[at].not_after_unix_s <= one.not_after_unix_s => {}
            Some(at) => told[at] = one,
            None if told.len() < TOLD_MAX => told.push(one),
            None => {}
        }
    }
    told
}

/// Our own certificate, which comes first in what we show.
pub(crate) fn own(chain: &[CertificateDer<'_>]) -> Option<Certificate> {
    Certificate::read(CertificateRole::Client, chain.first()?)
}

/// Those whom one trusts. While an authority is changed there are two of its name: the later one counts.
pub(crate) fn authorities(trusted: &[CertificateDer<'_>]) -> Vec<Certificate> {
    let mut told: Vec<Certificate> = Vec::new();
    for one in trusted.iter().filter_map(|der| Certificate::read(CertificateRole::Authority, der)) {
        match told.iter_mut().find(|known| known.subject == one.subject) {
            Some(known) if known.not_after_unix_s < one.not_after_unix_s => *known = one,
            Some(_) => {}
            None => told.push(one),
        }
    }
    // What ends first is what one has to know.
    told.sort_by_key(|one| one.not_after_unix_s);
    told.truncate(TOLD_MAX);
    told
}

/// Elements of DER, one after the other.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The next element: its tag, and what is in it.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        // Tags of several bytes do not occur here.
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x84 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (bytes.iter().fold(0, |length, byte| (length << 8) | usize::from(*byte)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    /// What is in the next element, which must have this tag.
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|(found, _)| *found == tag).map(|(_, content)| content)
    }
}

/// The part of a name that people know it by.
fn name(content: &[u8]) -> String {
    let (mut common, mut organization) = (None, None);
    let mut sets = Der(content);
    while let Some(set) = sets.take(SET) {
        let Some(pair) = Der(set).take(SEQUENCE) else { continue };
        let mut pair = Der(pair);
        let (Some(kind), Some(value)) = (pair.take(OBJECT_ID), pair.next()) else { continue };
        match kind {
            COMMON_NAME => common = Some(value),
            ORGANIZATION => organization = Some(value),
            _ => {}
        }
    }
    common.or(organization).map(text).unwrap_or_default()
}

/// Foreign text as it may be told: in one line, and not long.
fn text((tag, bytes): (u8, &[u8])) -> String {
    let read = if tag == BMP_STRING {
        let units: Vec<u16> =
            bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
        String::from_utf16_lossy(&units)
    } else {
        String::from_utf8_lossy(bytes).into_owned()
    };
    read.chars().take(NAME_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A time in seconds since the Unix epoch. RFC 5280 allows one form of each kind, in UTC.
fn time((tag, content): (u8, &[u8])) -> Option<i64> {
    let digits = content.strip_suffix(b"Z")?;
    let number = |part: &[u8]| {
        let are_digits = !part.is_empty() && part.iter().all(u8::is_ascii_digit);
        are_digits.then(|| part.iter().fold(0_i64, |n, digit| n * 10 + i64::from(digit - b'0')))
    };
    let (year, rest) = match tag {
        UTC_TIME => {
            let (short, rest) = digits.split_at_checked(2)?;
            let short = number(short)?;
            // Two digits stand for 1950 to 2049.
            (if short < 50 { 2000 + short } else { 1900 + short }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = digits.split_at_checked(4)?;
            (number(year)?, rest)
        }
        _ => return None,
    };
    if rest.len() != 10 {
        return None;
    }
    let mut fields = rest.chunks_exact(2).map(number);
    let mut field = |range: std::ops::RangeInclusive<i64>| fields.next()?.filter(|n| range.contains(n));
    let (month, day) = (field(1..=12)?, field(1..=31)?);
    let (hour, minute, second) = (field(0..=23)?, field(0..=59)?, field(0..=60)?);
    Some(days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

/// Days since 1970-01-01. Years are counted from March here, so that the day of leap years is their last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month < 3 { year - 1 } else { year };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // From the first of March of the year 0 to 1970-01-01 there are 719468 days.
    year * 365 + leap_days + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256, date_time_ymd};

    use super::*;

    fn made(name: &str, from: (i32, u8, u8), until: (i32, u8, u8)) -> Vec<u8> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
        let mut params = CertificateParams::new(vec!["x.example".to_owned()]).expect("names");
        params.distinguished_name.push(DnType::CountryName, "DE");
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = date_time_ymd(from.0, from.1, from.2);
        params.not_after = date_time_ymd(until.0, until.1, until.2);
        params.self_signed(&key).expect("signed").der().to_vec()
    }

    fn read(der: &[u8]) -> Option<Certificate> {
        Certificate::read(CertificateRole::Server, der)
    }

    #[test]
    fn names_and_times_are_read() {
        // Before 2050 two digits are written of a year, then four. Figures: `date -u -d … +%s`.
        for (from, until, begins, ends) in [
            ((2000, 2, 29), (2026, 11, 22), 951_782_400, 1_795_305_600),
            ((1975, 1, 1), (2049, 12, 31), 157_766_400, 2_524_521_600),
            ((2024, 3, 1), (2050, 1, 1), 1_709_251_200, 2_524_608_000),
            ((1999, 12, 31), (4096, 1, 1), 946_598_400, 67_090_118_400),
        ] {
            let one = read(&made("kube-apiserver\n", from, until)).expect("a certificate");
            assert_eq!((one.not_before_unix_s, one.not_after_unix_s), (begins, ends), "{from:?} {until:?}");
            assert_eq!((&*one.subject, &*one.issuer), ("kube-apiserver ", "kube-apiserver "));
            assert!(!one.has_ended(ends) && one.has_ended(ends + 1));
        }
        assert_eq!(time((GENERALIZED_TIME, b"99991231235959Z")), Some(253_402_300_799), "that of no end");
    }

    #[test]
    fn what_is_no_certificate_is_passed_over() {
        let der = made("x", (2020, 1, 1), (2030, 1, 1));
        for end in 0..der.len() {
            assert_eq!(read(&der[..end]), None, "{end} of {} bytes", der.len());
        }
        // Bytes that are wrong anywhere do no harm.
        for at in 0..der.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut broken = der.clone();
                broken[at] ^= flip;
                let _ = read(&broken);
            }
        }
        for text in
            ["260230000000", "261301000000Z", "261122240000Z", "2611220000Z", "26112200000aZ", "Z", ""]
        {
            assert_eq!(time((UTC_TIME, text.as_bytes())), None, "{text}");
        }
        assert_eq!(read(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    }

    #[test]
    fn of_one_name_the_one_that_counts_is_told() {
        let der = |name: &str, year: i32| CertificateDer::from(made(name, (2000, 1, 1), (year, 1, 1)));
        let ends = |all: &[Certificate]| -> Vec<(String, i64)> {
            all.iter()
                .map(|one| (one.subject.clone(), (one.not_after_unix_s + 200_000) / 31_556_952 + 1970))
                .collect()
        };
        let all = [der("ca", 2030), der("ca", 2040), der("ca", 2020), der("other", 2035)];
        assert_eq!(ends(&authorities(&all)), [("other".to_owned(), 2035), ("ca".to_owned(), 2040)]);
        let told = shown(&der("server", 2029), &all);
        let expected = [("server", 2029), ("ca", 2020), ("other", 2035)];
        assert_eq!(ends(&told), expected.map(|(name, year)| (name.to_owned(), year)));
        let many: Vec<_> = (0..40).map(|n| der(&n.to_string(), 2030 + n)).collect();
        assert_eq!((authorities(&many).len(), shown(&many[0], &many).len()), (TOLD_MAX, TOLD_MAX));
        assert_eq!(own(&[]), None);
    }
}
