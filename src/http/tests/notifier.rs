//! The push webhook against a real server that takes, fails for a while, refuses and stalls.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::http::StatusCode;
use common::*;
use serde_json::json;
use tidegate_domain::app::App;
use tidegate_domain::hook::{Notification, Notifier};
use tidegate_domain::ids::{AppId, ConvId, MessageId};
use tidegate_http::{HttpRuntime, NotifierOptions, WebhookNotifier};

fn options() -> NotifierOptions {
    NotifierOptions { tries: 3, pause: Duration::from_millis(5), ..NotifierOptions::default() }
}

fn notifier(url: &str, options: NotifierOptions) -> (WebhookNotifier, HttpRuntime) {
    let runtime = HttpRuntime::start(1).unwrap();
    let apps = [App { push_webhook: Some(url.into()), ..app(0, vec![]) }, app(1, vec![])];
    (WebhookNotifier::start(&runtime, options, &apps).unwrap(), runtime)
}

fn notification() -> Notification {
    Notification {
        app: AppId(0),
        cid: ConvId::parse(CONV),
        mid: MessageId([7; 16]),
        from: "ann".into(),
        at: 1_700_000_000_000,
        to: vec!["bob".into(), "cy".into()],
        data: json!({"alert": "hi", "custom": 1}),
        journey: None,
    }
}

fn notify(notifier: &WebhookNotifier) -> Result<(), String> {
    let (done, end) = told();
    notifier.notify(notification(), done);
    end.recv_timeout(PATIENCE).expect("an end")
}

#[test]
fn a_notification_is_posted_as_documented() {
    let receiver = Receiver::new(|_| async { StatusCode::NO_CONTENT });
    let (notifier, _runtime) = notifier(&receiver.url(), options());
    assert!(notifier.serves(AppId(0)) && !notifier.serves(AppId(1)));
    assert_eq!(notify(&notifier), Ok(()));
    assert_eq!(
        receiver.heard()[0].json,
        json!({
            "appId": "app-0", "to": [{"clientId": "bob"}, {"clientId": "cy"}], "data": {"alert": "hi", "custom": 1},
            "convId": CONV, "msgId": "0kR60kR60kR60kR60kR60k", "from": "ann", "timestamp": 1_700_000_000_000_i64
        })
    );
}

#[test]
fn what_passes_is_tried_again_and_what_does_not_is_not() {
    let answered = |statuses: &'static [u16]| {
        let next = Arc::new(AtomicUsize::new(0));
        Receiver::new(move |_| {
            let nth = next.fetch_add(1, Ordering::SeqCst);
            let status = StatusCode::from_u16(statuses[nth.min(statuses.len() - 1)]).unwrap();
            async move { status }
        })
    };
    for (statuses, tries, end) in [
        (&[503, 429, 200][..], 3, Ok(())),
        (&[503][..], 3, Err("it answered with status 503".to_owned())),
        (&[400][..], 1, Err("it answered with status 400".to_owned())),
    ] {
        let receiver = answered(statuses);
        let (notifier, _runtime) = notifier(&receiver.url(), options());
        assert_eq!(notify(&notifier), end);
        assert_eq!(receiver.count(), tries, "{statuses:?}");
    }
}

#[test]
fn a_stalled_gateway_bounds_what_waits_for_it() {
    let receiver = Receiver::new(|_| std::future::pending::<&str>());
    let options = NotifierOptions { concurrency: 2, pending: 5, timeout: PATIENCE, ..options() };
    let (notifier, runtime) = notifier(&receiver.url(), options);
    let ends: Vec<_> = (0..20)
        .map(|_| {
            let (done, end) = told();
            notifier.notify(notification(), done);
            end
        })
        .collect();
    for end in &ends[5..] {
        assert_eq!(end.recv_timeout(PATIENCE), Ok(Err("too many notifications are waiting".to_owned())));
    }
    wait_until("as many as may are on their way", || receiver.inside() == 2);
    assert!(ends[..5].iter().all(|end| end.try_recv().is_err()));
    runtime.stop(Duration::from_millis(10));
    for end in &ends[..5] {
        assert_eq!(end.recv_timeout(PATIENCE), Ok(Err("the server is stopping".to_owned())));
    }
    assert_eq!(receiver.most(), 2);
}

#[test]
fn an_app_without_a_webhook_says_so() {
    let (notifier, _runtime) = notifier("http://127.0.0.1:9/", options());
    let (done, end) = told();
    notifier.notify(Notification { app: AppId(1), ..notification() }, done);
    assert_eq!(end.recv_timeout(PATIENCE), Ok(Err("the app has no push webhook".to_owned())));
}
