//! What answers mean, what is put on the wire, and doubles of servers that no package brings: those of
//! InfluxDB 2 and 3 and of `_bulk` are written from their documents.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    sync::mpsc,
    time::Duration,
};

use proptest::prelude::*;
use vedette_config::{Auth, HttpClient, Secret, SecretSource};
use vedette_http_client::ProxyEnvironment;
use vedette_sys::{RealFs, SimFs, SystemClock};

mod redis_double;

use super::{redis::resp, *};
use crate::export::{
    BatchLimits, Elasticsearch, ExportPlan, FileSink, IndexPer, InfluxDb, InfluxVersion, Shape,
    batch::{Document, Place},
    target::Statsd,
};

fn batch(documents: &[&str]) -> Batch {
    let mut batch = Batch::default();
    for (at, text) in documents.iter().enumerate() {
        batch.bytes.extend_from_slice(text.as_bytes());
        let place = Place { spooled_ms: 1, seq: 1, ordinal: at as u32 };
        let (end, id, key) = (batch.bytes.len(), at as u128, at as u64);
        batch.documents.push(Document { end, points: 1, place, time_ms: 1, id, key });
    }
    batch
}

#[test]
fn bulk_tells_of_each_document() {
    use super::elasticsearch::outcome;
    let item = |status: u16| {
        format!(r#"{{"create":{{"status":{status},"error":{{"type":"t{status}","reason":"r"}}}}}}"#)
    };
    let answer = |all: &[u16]| {
        let items: Vec<_> = all.iter().map(|status| item(*status)).collect();
        format!(r#"{{"errors":true,"items":[{}]}}"#, items.join(","))
    };
    assert_eq!(outcome(br#"{"errors":false,"items":[]}"#, 3), Delivery::Taken);
    // One that was there already is there.
    assert_eq!(outcome(answer(&[201, 409, 200]).as_bytes(), 3), Delivery::Taken);
    let partly = outcome(answer(&[201, 400, 429, 503, 403]).as_bytes(), 5);
    let message = String::from("status 400: t400: r");
    assert_eq!(partly, Delivery::Partly { refused: vec![1], again: vec![2, 3, 4], message });
    for odd in [answer(&[201]).as_bytes(), b"<html>", b"", b"{}", b"{\"errors\":true}"] {
        assert!(matches!(outcome(odd, 3), Delivery::Again { .. }));
    }
}

#[test]
fn influxdb_tells_how_many_or_which_points_it_dropped() {
    use super::influxdb::refused;
    let three = batch(&["a value=1 1\n", "b value=1 1\n", "c value=1 1\n"]);
    let answer = |body: &str| http::Answer { status: 400, after: None, body: body.into() };
    let told = answer(r#"{"error":"partial write: field type conflict: … dropped=1"}"#);
    assert!(matches!(refused(&told, &three, false), Delivery::Refused { taken: 2, .. }));
    let told = answer(r#"{"error":"unable to parse 'x'"}"#);
    assert!(matches!(refused(&told, &three, false), Delivery::Refused { taken: 0, .. }));
    let told = answer(
        r#"{"error":"partial write of line protocol occurred","data":[{"original_line":"b","line_number":2,"error_message":"m"}]}"#,
    );
    let Delivery::Partly { refused: lines, .. } = refused(&told, &three, true) else { panic!("not told") };
    assert_eq!(lines, [1]);
    for odd in [r#"{"data":[{"line_number":9}]}"#, r#"{"data":[{"line_number":0}]}"#, "x", ""] {
        assert!(matches!(refused(&answer(odd), &three, true), Delivery::Refused { taken: 0, .. }), "{odd}");
    }
}

#[test]
fn what_a_person_can_put_right_is_waited_for() {
    let delivery = |status| http::Answer { status, after: None, body: Vec::new() }.delivery();
    for status in [301, 401, 403, 404, 408, 429, 500, 502, 503] {
        assert!(matches!(delivery(status), Delivery::Again { .. }), "{status}");
    }
    for status in [400, 422] {
        assert!(matches!(delivery(status), Delivery::Refused { taken: 0, .. }), "{status}");
    }
    assert!(matches!(delivery(413), Delivery::TooLarge { .. }));
    assert_eq!(delivery(204), Delivery::Taken);
}

proptest! {
    #[test]
    fn whatever_redis_answers_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = resp::parse(&bytes);
    }

    /// A reply is the same however it is cut.
    #[test]
    fn replies_come_in_pieces(text in "[a-z]{0,20}", number in any::<i64>(), bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        let mut whole = Vec::new();
        whole.extend_from_slice(format!("*4\r\n+{text}\r\n:{number}\r\n$-1\r\n${}\r\n", bytes.len()).as_bytes());
        whole.extend_from_slice(&bytes);
        whole.extend_from_slice(b"\r\n");
        let expected = Reply::Array(vec![
            Reply::Text(text),
            Reply::Number(number),
            Reply::Bulk(None),
            Reply::Bulk(Some(bytes)),
        ]);
        for cut in 0..whole.len() {
            prop_assert_eq!(resp::parse(&whole[..cut]).expect("the beginning of a reply"), None);
        }
        whole.extend_from_slice(b"+more");
        let (reply, length) = resp::parse(&whole).expect("a reply").expect("a whole one");
        prop_assert_eq!((reply, length), (expected, whole.len() - 5));
    }

    /// Packets hold all lines, none is cut, and none is too long that need not be.
    #[test]
    fn packets_hold_whole_lines(lengths in proptest::collection::vec(1_usize..120, 0..40), bytes_max in 64_usize..200) {
        let lines: Vec<String> = lengths.iter().map(|length| "x".repeat(*length) + "\n").collect();
        let texts: Vec<&str> = lines.iter().map(String::as_str).collect();
        let batch = batch(&texts);
        let packets: Vec<&[u8]> = super::statsd::packets(&batch, bytes_max).collect();
        let mut joined = packets.join(&b'\n');
        if !joined.is_empty() {
            joined.push(b'\n');
        }
        prop_assert_eq!(joined, lines.concat().into_bytes());
        for packet in packets {
            prop_assert!(packet.len() <= bytes_max || !packet.contains(&b'\n'));
        }
    }

    /// Documents of one key go to one partition, all go somewhere, in order, and no partition is left out.
    #[test]
    fn partitions_share_the_documents(count in 0_usize..50, partitions in proptest::collection::vec(0_i32..9, 1..5)) {
        let texts = vec!["x"; count];
        let mut batch = batch(&texts);
        for (at, document) in batch.documents.iter_mut().enumerate() {
            document.key = at as u64 / 3;
        }
        let parts = super::kafka::by_partition(&batch, &partitions);
        let mut all: Vec<usize> = parts.values().flatten().copied().collect();
        all.sort_unstable();
        prop_assert_eq!(all, (0..count).collect::<Vec<_>>());
        prop_assert!(parts.values().all(|documents| documents.is_sorted()));
        let of = |at: usize| parts.iter().find(|(_, documents)| documents.contains(&at)).map(|(part, _)| *part);
        for at in 0..count {
            prop_assert_eq!(of(at), of(at / 3 * 3), "three have one key");
        }
        let used: std::collections::BTreeSet<i32> = parts.keys().copied().collect();
        let expected = partitions.iter().take(count.div_ceil(3)).copied().collect();
        prop_assert_eq!(used, expected);
    }
}

#[test]
fn a_message_of_kafka_has_document_id_and_time_and_no_key() {
    let mut batch = batch(&["first", "second"]);
    (batch.documents[1].id, batch.documents[1].time_ms) = (0xfeed, 1_700_000_000_123);
    let record = super::kafka::record(&batch, 1);
    assert_eq!((record.key, record.value.as_deref()), (None, Some(b"second".as_slice())));
    let id = record.headers.get("id").map(Vec::as_slice);
    assert_eq!(id, Some(b"0000000000000000000000000000feed".as_slice()));
    assert_eq!(record.timestamp.timestamp_millis(), 1_700_000_000_123);
}

#[test]
fn what_a_broker_refuses_for_its_size_is_sent_in_smaller_parts() {
    use super::kafka::Parts;
    use rskafka::client::error::{Error, ProtocolError, RequestContext};
    let error = |protocol_error| Error::ServerError {
        protocol_error,
        error_message: None,
        request: RequestContext::Topic("t".into()),
        response: None,
        is_virtual: false,
    };
    // Whether another partition has taken its part, what each refused part was told, and what follows of it.
    let outcome = |is_some_taken: bool, refused: Vec<(ProtocolError, Vec<usize>)>| {
        let mut parts = Parts { is_some_taken, ..Parts::default() };
        refused.into_iter().for_each(|(why, documents)| parts.note(&error(why), documents));
        parts.delivery(3)
    };
    use ProtocolError::{MessageTooLarge, NotLeaderOrFollower, RecordListTooLarge};
    assert_eq!(outcome(true, vec![]), Delivery::Taken);
    let large = outcome(false, vec![(MessageTooLarge, vec![0, 1]), (RecordListTooLarge, vec![2])]);
    assert!(matches!(large, Delivery::TooLarge { .. }), "{large:?}");
    let later = outcome(false, vec![(NotLeaderOrFollower, vec![0, 1, 2])]);
    assert!(matches!(later, Delivery::Again { .. }), "{later:?}");
    let again = |delivery: Delivery| match delivery {
        Delivery::Partly { refused, again, .. } if refused.is_empty() => again,
        other => panic!("{other:?}"),
    };
    assert_eq!(again(outcome(true, vec![(NotLeaderOrFollower, vec![1])])), [1]);
    assert_eq!(again(outcome(true, vec![(MessageTooLarge, vec![2])])), [2]);
    let both = outcome(false, vec![(MessageTooLarge, vec![2]), (NotLeaderOrFollower, vec![0, 1])]);
    assert_eq!(again(both), [2, 0, 1]);
}

use super::redis::resp::Reply;

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

#[test]
fn a_file_is_put_aside_when_it_is_long_and_the_oldest_goes() {
    let fs: Arc<dyn Fs> = Arc::new(SimFs::new(1));
    let path = PathBuf::from("/out/x.jsonl");
    let sink = file::Sink::new(&FileSink { path: path.clone(), bytes_max: 20, kept: 2 }, fs.clone());
    run(async {
        for number in 0..7 {
            let text = format!("line {number} ...\n");
            assert_eq!(sink.deliver(Arc::new(batch(&[&text]))).await, Delivery::Taken);
        }
    });
    let read = |name: &str| String::from_utf8(fs.read(&PathBuf::from(name)).expect(name)).expect("text");
    assert_eq!(read("/out/x.jsonl"), "line 6 ...\n");
    assert_eq!(read("/out/x.jsonl.1"), "line 5 ...\n");
    assert_eq!(read("/out/x.jsonl.2"), "line 4 ...\n");
    assert!(!fs.exists(&PathBuf::from("/out/x.jsonl.3")));
}

#[test]
fn a_line_that_was_cut_by_the_end_of_the_process_is_removed() {
    let fs: Arc<dyn Fs> = Arc::new(SimFs::new(1));
    let path = PathBuf::from("/out/x");
    fs.create_dir_all(&PathBuf::from("/out")).expect("makes");
    fs.open_append(&path).expect("opens").append(b"whole\nhal").expect("writes");
    let sink = file::Sink::new(&FileSink { path: path.clone(), bytes_max: 1 << 20, kept: 2 }, fs.clone());
    assert_eq!(run(sink.deliver(Arc::new(batch(&["next\n"])))), Delivery::Taken);
    assert_eq!(fs.read(&path).expect("reads"), b"whole\nnext\n");
}

#[test]
fn gauges_arrive_in_packets() {
    let server = std::net::UdpSocket::bind("127.0.0.1:0").expect("binds");
    server.set_read_timeout(Some(Duration::from_secs(60))).expect("sets");
    let address = server.local_addr().expect("bound").to_string();
    let sink = statsd::Sink::new(&Statsd { address, prefix: String::new(), packet_bytes_max: 8 });
    assert_eq!(run(sink.deliver(Arc::new(batch(&["a:1|g\n", "b:2|g\n", "c:3|g\n"])))), Delivery::Taken);
    let mut packet = [0; 100];
    for expected in ["a:1|g", "b:2|g", "c:3|g"] {
        let length = server.recv(&mut packet).expect("a packet");
        assert_eq!(std::str::from_utf8(&packet[..length]), Ok(expected));
    }
}

#[test]
fn a_server_of_gauges_that_is_gone_is_looked_for_again() {
    let server = std::net::UdpSocket::bind("127.0.0.1:0").expect("binds");
    let address = server.local_addr().expect("bound").to_string();
    let config = Statsd { address: address.clone(), prefix: String::new(), packet_bytes_max: 8 };
    let sink = statsd::Sink::new(&config);
    let lines = Arc::new(batch(&["a:1|g\n", "b:2|g\n"]));
    run(async {
        assert_eq!(sink.deliver(lines.clone()).await, Delivery::Taken);
        assert!(sink.is_open().await);
        drop(server);
        // What the first packet met is told to the second.
        let gone = sink.deliver(lines.clone()).await;
        assert!(matches!(&gone, Delivery::Again { message, .. } if message.contains(&address)), "{gone:?}");
        assert!(!sink.is_open().await, "the name may lead elsewhere next time");
    });
}

/// A server that answers as it is told, the last answer again and again; gives heads and bodies.
fn server(answers: &'static [&'static str]) -> (SocketAddr, mpsc::Receiver<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
    let address = listener.local_addr().expect("bound");
    let (sender, requests) = mpsc::channel();
    std::thread::spawn(move || {
        for (at, stream) in listener.incoming().enumerate() {
            let answer = answers[at.min(answers.len() - 1)];
            let Some(request) = stream.ok().and_then(|stream| serve(stream, answer)) else { continue };
            if sender.send(request).is_err() {
                return;
            }
        }
    });
    (address, requests)
}

fn serve(mut stream: TcpStream, answer: &str) -> Option<(String, String)> {
    let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let small = head.to_lowercase();
            let length: usize = small.split("content-length: ").nth(1)?.lines().next()?.parse().ok()?;
            let body = &bytes[end + 4..];
            if body.len() >= length {
                let mut text = String::new();
                if small.contains("content-encoding: gzip") {
                    flate2::read::GzDecoder::new(&body[..length]).read_to_string(&mut text).ok()?;
                } else {
                    text = String::from_utf8(body[..length].to_vec()).ok()?;
                }
                let (head_out, body_out) = answer.split_once("\n\n").unwrap_or((answer, ""));
                let length = body_out.len();
                let out = format!(
                    "HTTP/1.1 {head_out}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body_out}"
                );
                stream.write_all(out.as_bytes()).ok()?;
                return Some((head, text));
            }
        }
        match stream.read(&mut piece).ok()? {
            0 => return None,
            n => bytes.extend_from_slice(&piece[..n]),
        }
    }
}

fn token(scheme: &str) -> HttpClient {
    let credentials = Some(SecretSource::Inline(Secret::new("geheim")));
    HttpClient { auth: Auth::Authorization { scheme: scheme.into(), credentials }, ..HttpClient::default() }
}

fn export(sink: SinkConfig) -> Export {
    let plan = ExportPlan {
        selectors: vec![Vec::new()],
        interval: Duration::ZERO,
        batch: BatchLimits::default(),
        backoff_min: Duration::from_millis(1),
        backoff_max: Duration::from_millis(2),
    };
    Export { name: "x".into(), plan, shape: Shape::Vedette, timeout: Duration::from_secs(60), sink }
}

fn open_sink(sink: SinkConfig) -> Arc<dyn Deliver> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let options = Options {
        user_agent: "Vedette/test".into(),
        unix_socket: None,
        proxy_environment: ProxyEnvironment::default(),
        clock: clock.clone(),
    };
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let around = Surroundings { options: &options, fs: &fs, clock: &clock, machine: "m" };
    open(&export(sink), &around).expect("opens")
}

fn deliver_to(sink: SinkConfig, batch: Batch) -> Delivery {
    run(async { open_sink(sink).deliver(Arc::new(batch)).await })
}

#[test]
fn doubles_of_influxdb_2_and_3_get_what_their_documents_ask_for() {
    let cases: [(InfluxVersion, &str, &str); 3] = [
        (
            InfluxVersion::V1 { database: "d b".into(), retention_policy: "r".into() },
            "Basic",
            "POST /write?db=d+b&rp=r&precision=ms HTTP/1.1",
        ),
        (
            InfluxVersion::V2 { org: "o".into(), bucket: "b&".into() },
            "Token",
            "POST /api/v2/write?org=o&bucket=b%26&precision=ms HTTP/1.1",
        ),
        (
            InfluxVersion::V3 { database: "d".into() },
            "Bearer",
            "POST /api/v3/write_lp?db=d&precision=millisecond&accept_partial=true HTTP/1.1",
        ),
    ];
    for (version, scheme, line) in cases {
        for gzip in [true, false] {
            let (address, requests) = server(&["204 No Content"]);
            let url = format!("http://{address}/");
            let config = InfluxDb { url, client: token(scheme), version: version.clone(), gzip };
            let delivered =
                deliver_to(SinkConfig::InfluxDb(config), batch(&["a value=1 1\n", "b value=2 1\n"]));
            assert_eq!(delivered, Delivery::Taken);
            let (head, body) = requests.recv_timeout(Duration::from_secs(60)).expect("a request");
            assert_eq!(head.lines().next(), Some(line));
            assert!(
                head.to_lowercase().contains(&format!("authorization: {} geheim", scheme.to_lowercase()))
            );
            assert_eq!(body, "a value=1 1\nb value=2 1\n");
        }
    }
}

#[test]
fn an_answer_that_takes_a_part_leaves_the_others_to_be_told_of() {
    const BULK: &str = concat!(
        "200 OK\n\n{\"errors\":true,\"items\":[{\"create\":{\"status\":201}},",
        "{\"create\":{\"status\":400,\"error\":{\"type\":\"t\",\"reason\":\"r\"}}},{\"create\":{\"status\":503}}]}"
    );
    const INFLUX: &str = "400 Bad Request\n\n{\"error\":\"partial write: type conflict dropped=1\"}";
    const INFLUX_3: &str = "400 Bad Request\n\n{\"data\":[{\"line_number\":2}]}";
    let influx = |address, version| {
        let url = format!("http://{address}");
        SinkConfig::InfluxDb(InfluxDb { url, client: token("Token"), version, gzip: false })
    };
    let told = |answers: &'static [&'static str], sink: &dyn Fn(SocketAddr) -> SinkConfig| {
        let (address, requests) = server(answers);
        let delivered = deliver_to(sink(address), batch(&["a\n", "b\n", "c\n"]));
        (delivered, requests.recv_timeout(Duration::from_secs(60)).expect("a request"))
    };
    let (bulk, (head, body)) = told(&[BULK], &|address| {
        SinkConfig::Elasticsearch(Elasticsearch {
            url: format!("http://{address}/"),
            client: token("ApiKey"),
            index: "i".into(),
            per: IndexPer::Never,
            is_stream: false,
            gzip: false,
        })
    });
    let message = String::from("status 400: t: r");
    assert_eq!(bulk, Delivery::Partly { refused: vec![1], again: vec![2], message });
    assert!(head.starts_with("POST /_bulk?filter_path="), "{head}");
    assert_eq!(body, "a\nb\nc\n");
    let version = InfluxVersion::V1 { database: "d".into(), retention_policy: String::new() };
    let (first, _) = told(&[INFLUX], &|address| influx(address, version.clone()));
    assert!(matches!(first, Delivery::Refused { taken: 2, .. }), "{first:?}");
    let version = InfluxVersion::V3 { database: "d".into() };
    let (third, _) = told(&[INFLUX_3], &|address| influx(address, version.clone()));
    let Delivery::Partly { refused, again, .. } = third else { panic!("{third:?}") };
    assert_eq!((refused, again), (vec![1], vec![]));
}

#[test]
fn a_double_of_bulk_is_told_documents_and_asked_to_wait() {
    let (address, requests) = server(&["429 Too Many Requests\r\nRetry-After: 7\n\nbusy"]);
    let config = Elasticsearch {
        url: format!("http://{address}"),
        client: token("ApiKey"),
        index: "i".into(),
        per: IndexPer::Never,
        is_stream: false,
        gzip: true,
    };
    let delivered = deliver_to(SinkConfig::Elasticsearch(config), batch(&["{\"create\":{}}\n{}\n"]));
    let Delivery::Again { after, message } = delivered else { panic!("{delivered:?}") };
    assert_eq!((after, message.as_str()), (Some(Duration::from_secs(7)), "status 429: busy"));
    let (head, body) = requests.recv_timeout(Duration::from_secs(60)).expect("a request");
    assert!(head.starts_with("POST /_bulk?filter_path="), "{head}");
    assert!(head.to_lowercase().contains("content-type: application/x-ndjson"));
    assert!(head.to_lowercase().contains("authorization: apikey geheim"));
    assert_eq!(body, "{\"create\":{}}\n{}\n");
}

#[test]
fn a_place_is_known_across_restarts_and_not_across_spools() {
    let place = |spooled_ms, seq, ordinal| Place { spooled_ms, seq, ordinal };
    let known = place(1000, 5, 3);
    for (within, other) in [
        (true, place(1000, 5, 3)),
        (true, place(1000, 5, 2)),
        (true, place(900, 4, 9)),
        (false, place(1000, 5, 4)),
        (false, place(1100, 6, 0)),
        // The spool was removed, and its numbers begin anew.
        (false, place(2000, 1, 0)),
        // The clock was set back.
        (false, place(10, 6, 0)),
    ] {
        assert_eq!(other.is_within(&known), within, "{other:?}");
    }
}
