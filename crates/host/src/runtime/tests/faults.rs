//! Runtimes that are missing, hang, answer garbage or without end, go and come back.

use super::{
    doubles::{Double, Reply},
    peers::{Heard, Place, crio, run},
    *,
};

fn docker(list: Reply) -> Vec<(&'static str, Reply)> {
    vec![
        ("/version", Reply::Json(r#"{"Version":"1","Components":null}"#.into())),
        ("/info", Reply::Json("{}".into())),
        ("/containers/json", list),
    ]
}

#[test]
fn every_fault_of_an_engine_is_told_with_its_reason_and_passes_with_its_cause() {
    run(async {
        let place = Place::new();
        let asker = Asker { timeout: Duration::from_secs(2), ..place.asker(&[]) };
        let mut heard = Heard::of(place.socket(), asker);
        assert_eq!(heard.state().await, SocketState::Absent);
        for (list, reason) in [
            (Reply::Hangs, "in time"),
            (Reply::Endless, "is not read"),
            (Reply::Json("[{\"Id\":7}]".into()), "makes no sense"),
            (Reply::Json("<html>".into()), "makes no sense"),
            (Reply::Grpc(Vec::new()), "404 Not Found"),
        ] {
            let double = Double::start(&place.socket(), &docker(list));
            heard
                .until(|told| match told {
                    Told::State { state: SocketState::Fails(told), .. } => {
                        told.contains(reason).then_some(())
                    }
                    _ => None,
                })
                .await;
            // It recovers while it runs, without a new socket.
            double
                .replies
                .lock()
                .extend(docker(Reply::Json("[]".into())).into_iter().map(|(p, r)| (p.to_owned(), r)));
            assert_eq!(heard.update().await, []);
        }
    });
}

#[test]
fn every_fault_of_cri_is_told_and_passes_with_its_cause() {
    run(async {
        let place = Place::new();
        let asker = Asker { timeout: Duration::from_secs(2), ..place.asker(&[]) };
        let mut heard = Heard::of(place.socket(), asker);
        for (reply, reason) in [
            (Reply::Hangs, "in time"),
            // A message that is announced to be longer than is read.
            (Reply::Endless, "too large"),
            (Reply::Grpc(vec![0xff; 7]), "makes no sense"),
        ] {
            let double = Double::start(&place.socket(), &crio());
            double.replies.lock().insert("/runtime.v1.RuntimeService/ListContainers".into(), reply);
            heard
                .until(|told| match told {
                    Told::State { state: SocketState::Fails(told), .. } => {
                        told.to_lowercase().contains(reason).then_some(())
                    }
                    _ => None,
                })
                .await;
            double.replies.lock().extend(crio().into_iter().map(|(p, r)| (p.to_owned(), r)));
            assert_eq!(heard.update().await.len(), 2);
        }
    });
}
