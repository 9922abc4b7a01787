//! Users and their passwords.
//!
//! A password is held against its bcrypt hash once; what came of it is remembered under a name that
//! tells nothing of it. A user who is not there costs the same time as one who is. Hashing takes its
//! turns, so that guessing cannot take all processors.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use hyper::header::HeaderValue;
use parking_lot::Mutex;
use ring::{hmac, rand::SystemRandom};
use tokio::sync::Semaphore;
use vedette_config::Secret;

/// Logins of either outcome that are remembered.
const REMEMBERED_MAX: usize = 256;
/// Passwords that are hashed at a time.
const TURNS: usize = 1;
/// Of those who wait for their turn further ones are refused.
const WAITING_MAX: usize = 128;

/// Who may come in; everyone where nobody is named.
#[derive(Default)]
pub struct Users(Option<Arc<Known>>);

struct Known {
    hashes: HashMap<String, Secret>,
    /// A user's hash, to be compared with in place of one that is not there.
    decoy: Secret,
    key: hmac::Key,
    seen: Mutex<Seen>,
    turns: Semaphore,
    waiting: Semaphore,
}

/// Logins that were checked. Wrong ones cannot push out right ones.
#[derive(Default)]
struct Seen {
    right: Remembered,
    wrong: Remembered,
}

#[derive(Default)]
struct Remembered(VecDeque<[u8; 32]>);

impl Remembered {
    fn has(&self, name: &[u8; 32]) -> bool {
        self.0.contains(name)
    }

    fn add(&mut self, name: [u8; 32]) {
        if self.0.len() >= REMEMBERED_MAX {
            self.0.pop_front();
        }
        self.0.push_back(name);
    }
}

impl Users {
    /// Users with the bcrypt hashes of their passwords.
    pub fn new(users: &[(String, Secret)]) -> Self {
        let cost = |hash: &Secret| hash.expose().split('$').nth(2).and_then(|cost| cost.parse::<u32>().ok());
        let Some((_, decoy)) = users.iter().max_by_key(|(_, hash)| cost(hash)) else { return Self(None) };
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        Self(Some(Arc::new(Known {
            hashes: users.iter().cloned().collect(),
            decoy: decoy.clone(),
            key: key.expect("BUG: the machine gives random numbers or nothing runs"),
            seen: Mutex::default(),
            turns: Semaphore::new(TURNS),
            waiting: Semaphore::new(WAITING_MAX),
        })))
    }

    /// Whether nobody is named.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Whether the header names one of them with the right password.
    pub async fn knows(&self, authorization: Option<&HeaderValue>) -> bool {
        let Some(known) = &self.0 else { return true };
        let Some((user, password)) = authorization.and_then(credentials) else { return false };
        let name = known.name(&user, &password);
        {
            let seen = known.seen.lock();
            if seen.right.has(&name) {
                return true;
            }
            if seen.wrong.has(&name) {
                return false;
            }
        }
        let Ok(_waiting) = known.waiting.try_acquire() else { return false };
        let Ok(_turn) = known.turns.acquire().await else { return false };
        let hashing = Arc::clone(known);
        let verified = tokio::task::spawn_blocking(move || hashing.verify(&user, &password)).await;
        let right = verified.unwrap_or(false);
        let mut seen = known.seen.lock();
        let list = if right { &mut seen.right } else { &mut seen.wrong };
        if !list.has(&name) {
            list.add(name);
        }
        right
    }
}

impl Known {
    fn verify(&self, user: &str, password: &[u8]) -> bool {
        let hash = self.hashes.get(user);
        let matches = bcrypt::verify(password, hash.unwrap_or(&self.decoy).expose()).unwrap_or(false);
        matches && hash.is_some()
    }

    /// What a login is remembered by.
    fn name(&self, user: &str, password: &[u8]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&(user.len() as u64).to_le_bytes());
        context.update(user.as_bytes());
        context.update(password);
        let mut name = [0; 32];
        name.copy_from_slice(context.sign().as_ref());
        name
    }
}

/// User and password of a header as RFC 7617 has it.
fn credentials(header: &HeaderValue) -> Option<(String, Vec<u8>)> {
    let (scheme, encoded) = header.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = BASE64_STANDARD.decode(encoded.trim()).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let user = String::from_utf8(decoded[..colon].to_vec()).ok()?;
    Some((user, decoded[colon + 1..].to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The least cost that bcrypt has.
    fn users(list: &[(&str, &str)]) -> Users {
        let hash = |password: &str| Secret::new(bcrypt::hash(password, 4).expect("hashes"));
        Users::new(
            &list.iter().map(|(user, password)| ((*user).to_owned(), hash(password))).collect::<Vec<_>>(),
        )
    }

    fn header(login: &str) -> HeaderValue {
        HeaderValue::from_str(&format!("Basic {}", BASE64_STANDARD.encode(login))).expect("a header")
    }

    #[tokio::test]
    async fn only_the_right_password_of_a_user_comes_in() {
        let users = users(&[("alice", "wonder:land"), ("bob", "")]);
        for _ in 0..2 {
            for (login, right) in [
                ("alice:wonder:land", true),
                ("bob:", true),
                ("alice:wonder", false),
                ("alice:", false),
                ("bob:wonder:land", false),
                ("carol:wonder:land", false),
                (":", false),
                ("alice", false),
            ] {
                assert_eq!(users.knows(Some(&header(login))).await, right, "{login}");
            }
        }
        for garbage in ["Basic", "Basic %%%", "Bearer abc", "basic YWxpY2U6d29uZGVyOmxhbmQ", ""] {
            let header = HeaderValue::from_str(garbage).expect("a header");
            assert!(!users.knows(Some(&header)).await, "{garbage}");
        }
        assert!(!users.knows(None).await);
        let lower = HeaderValue::from_static("basic YWxpY2U6d29uZGVyOmxhbmQ=");
        assert!(users.knows(Some(&lower)).await);
        assert!(Users::default().knows(None).await);
    }

    #[tokio::test]
    async fn guesses_do_not_push_out_who_came_in() {
        let users = users(&[("a", "right")]);
        assert!(users.knows(Some(&header("a:right"))).await);
        for guess in 0..REMEMBERED_MAX + 10 {
            assert!(!users.knows(Some(&header(&format!("a:{guess}")))).await);
        }
        let known = users.0.as_ref().expect("users");
        let seen = known.seen.lock();
        assert_eq!((seen.right.0.len(), seen.wrong.0.len()), (1, REMEMBERED_MAX));
        assert!(seen.right.has(&known.name("a", b"right")));
    }
}
