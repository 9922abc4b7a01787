//! A double of Redis: what it is asked, and what follows of its answers.

use parking_lot::Mutex;

use super::*;
use crate::export::Redis;

/// What it holds and was asked.
#[derive(Default)]
struct Double {
    commands: Vec<String>,
    texts: std::collections::BTreeMap<String, String>,
    /// What `TYPE` tells of the key.
    kind: &'static str,
    /// In so many transactions the first command fails; the others are done all the same.
    failing: usize,
}

impl Double {
    fn start(kind: &'static str, failing: usize) -> (String, Arc<Mutex<Self>>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
        let address = listener.local_addr().expect("bound").to_string();
        let double = Arc::new(Mutex::new(Self { kind, failing, ..Self::default() }));
        let shared = double.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = Self::serve(&shared, stream);
            }
        });
        (address, double)
    }

    fn serve(shared: &Mutex<Self>, mut stream: TcpStream) -> io::Result<()> {
        let (mut bytes, mut piece, mut queued) = (Vec::new(), [0; 4096], None);
        loop {
            while let Some((command, length)) = resp::parse(&bytes)? {
                bytes.drain(..length);
                let Reply::Array(words) = command else { return Ok(()) };
                let word = |word| match word {
                    Reply::Bulk(Some(bytes)) => String::from_utf8(bytes).expect("text"),
                    other => panic!("{other:?}"),
                };
                let words: Vec<String> = words.into_iter().map(word).collect();
                let answer = shared.lock().answer(&mut queued, &words);
                stream.write_all(answer.as_bytes())?;
            }
            match stream.read(&mut piece)? {
                0 => return Ok(()),
                n => bytes.extend_from_slice(&piece[..n]),
            }
        }
    }

    fn answer(&mut self, queued: &mut Option<usize>, words: &[String]) -> String {
        self.commands.push(words.join(" "));
        let is_queued = queued.is_some();
        let ok = if is_queued { "+QUEUED\r\n" } else { "+OK\r\n" };
        match words[0].as_str() {
            "MULTI" => *queued = Some(0),
            "EXEC" => {
                let count = queued.take().expect("a transaction");
                let is_failing = self.failing > 0;
                self.failing = self.failing.saturating_sub(1);
                let first = if is_failing { "-OOM it is full\r\n" } else { ":1\r\n" };
                return format!("*{count}\r\n{first}{}", ":1\r\n".repeat(count - 1));
            }
            "SET" => drop(self.texts.insert(words[1].clone(), words[2].clone())),
            "TYPE" => return format!("+{}\r\n", self.kind),
            "GET" => {
                let text = self.texts.get(&words[1]);
                return text.map_or("$-1\r\n".into(), |text| format!("${}\r\n{text}\r\n", text.len()));
            }
            _ => {}
        }
        if is_queued {
            *queued = queued.map(|count| count + 1);
        }
        ok.into()
    }
}

fn redis(address: &str) -> Redis {
    Redis {
        address: address.into(),
        key: "k".into(),
        is_stream: false,
        length_max: 0,
        database: 0,
        username: String::new(),
        password: None,
        tls: None,
    }
}

#[test]
fn documents_and_their_place_are_written_in_one_transaction_by_whoever_one_is() {
    let password = || Some(SecretSource::Inline(Secret::new("geheim")));
    type Change = fn(&mut Redis);
    let cases: [(Change, &[&str], &[&str]); 4] = [
        (|_| {}, &[], &["LPUSH k a b"]),
        (
            |redis| (redis.length_max, redis.database, redis.username) = (3, 2, "u".into()),
            &["AUTH u geheim", "SELECT 2"],
            &["LPUSH k a b", "LTRIM k 0 2"],
        ),
        (|redis| redis.is_stream = true, &[], &["XADD k * document a", "XADD k * document b"]),
        (
            |redis| (redis.is_stream, redis.length_max) = (true, 3),
            &["AUTH geheim"],
            &["XADD k MAXLEN ~ 3 * document a", "XADD k MAXLEN ~ 3 * document b"],
        ),
    ];
    for (change, before, documents) in cases {
        let (address, double) = Double::start("none", 0);
        let mut config = redis(&address);
        change(&mut config);
        config.password = (!before.is_empty()).then(password).flatten();
        assert_eq!(deliver_to(SinkConfig::Redis(config), batch(&["a", "b"])), Delivery::Taken);
        let mut expected = before.to_vec();
        expected.extend(["TYPE k", "GET vedette:place:{k}:m:x", "MULTI"]);
        expected.extend(documents);
        expected.extend(["SET vedette:place:{k}:m:x 1 1 1", "EXEC"]);
        assert_eq!(double.lock().commands, expected);
    }
}

#[test]
fn after_a_failure_the_place_is_set_back_and_what_is_there_is_not_sent_again() {
    let (address, double) = Double::start("list", 1);
    let asked = || {
        let is_written = |command: &String| !["TYPE", "GET", "MULTI", "EXEC"].contains(&&**command);
        let mut commands = std::mem::take(&mut double.lock().commands);
        commands.retain(|command| is_written(&command.split(' ').next().unwrap_or_default().to_owned()));
        commands
    };
    let place = |place: &str| format!("SET vedette:place:{{k}}:m:x {place}");
    run(async {
        let sink = open_sink(SinkConfig::Redis(redis(&address)));
        let both = Arc::new(batch(&["a", "b"]));
        let failed = sink.deliver(both.clone()).await;
        let Delivery::Again { message, .. } = failed else { panic!("{failed:?}") };
        assert!(message.contains("OOM it is full"), "{message}");
        assert_eq!(asked(), ["LPUSH k a b", &place("1 1 1")]);
        // The place was written though the documents were not.
        assert_eq!(sink.deliver(both.clone()).await, Delivery::Taken);
        assert_eq!(asked(), [&place("0 0 0"), "LPUSH k a b", &place("1 1 1")]);
        // As after an answer that was lost, and after a restart.
        assert_eq!(sink.deliver(both).await, Delivery::Taken);
        assert_eq!(asked(), [""; 0]);
        drop(sink);
        let restarted = open_sink(SinkConfig::Redis(redis(&address)));
        assert_eq!(restarted.deliver(Arc::new(batch(&["a", "b", "c"]))).await, Delivery::Taken);
        assert_eq!(asked(), ["LPUSH k c", &place("1 1 2")]);
    });
}

#[test]
fn a_key_that_holds_something_else_is_left_alone() {
    let (address, double) = Double::start("hash", 0);
    let delivered = deliver_to(SinkConfig::Redis(redis(&address)), batch(&["a"]));
    let Delivery::Again { message, .. } = delivered else { panic!("{delivered:?}") };
    assert!(message.contains("holds a hash and no list"), "{message}");
    assert_eq!(double.lock().commands, ["TYPE k"]);
}
