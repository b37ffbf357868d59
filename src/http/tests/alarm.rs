//! The alerts' webhook against a real server that takes, fails for a while, refuses and stalls.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::http::StatusCode;
use common::*;
use serde_json::json;
use tidegate_http::{AlarmOptions, AlertWebhook, HttpRuntime, NoticesSent, StartError};

fn options() -> AlarmOptions {
    let (pause, most_pause) = (Duration::from_millis(2), Duration::from_millis(8));
    AlarmOptions { tries: 4, pause, most_pause, ..AlarmOptions::default() }
}

fn start(url: &str, options: AlarmOptions) -> (AlertWebhook, HttpRuntime) {
    let runtime = HttpRuntime::start(1).unwrap();
    (AlertWebhook::start(&runtime, options, url, Some(SECRET)).unwrap(), runtime)
}

#[test]
fn notices_come_signed_and_in_order_though_one_has_to_be_tried_again() {
    let count = AtomicUsize::new(0);
    let receiver = Receiver::new(move |_| {
        let status = [503, 429, 200][count.fetch_add(1, Ordering::SeqCst).min(2)];
        async move { StatusCode::from_u16(status).unwrap() }
    });
    let (webhook, _runtime) = start(&receiver.url(), options());
    assert!(webhook.tell(json!({"n": 1}).to_string()) && webhook.tell(json!({"n": 2}).to_string()));
    wait_until("both are answered", || webhook.sent().answered == 2);
    let heard: Vec<_> = receiver.heard().iter().map(|heard| heard.json["n"].as_u64()).collect();
    assert_eq!(heard, [Some(1), Some(1), Some(1), Some(2)]);
    assert!(receiver.heard().iter().all(|heard| heard.signature.as_deref().is_some_and(|of| of.contains(",v1="))));
    wait_until("nothing is pending", || webhook.sent().pending == 0);
}

#[test]
fn what_nobody_takes_is_given_up_and_the_next_one_has_its_turn() {
    for (status, tries) in [(500, 4), (410, 1)] {
        let receiver = Receiver::new(move |json| {
            let status = if json["n"] == 1 { StatusCode::from_u16(status).unwrap() } else { StatusCode::OK };
            async move { status }
        });
        let (webhook, _runtime) = start(&receiver.url(), options());
        assert!(webhook.tell(json!({"n": 1}).to_string()) && webhook.tell(json!({"n": 2}).to_string()));
        let end = NoticesSent { pending: 0, answered: 1, failed: 1, unsent: 0 };
        wait_until("both have ended", || webhook.sent() == end);
        assert_eq!(receiver.count(), tries + 1, "{status}");
    }
}

#[test]
fn who_hands_in_a_notice_never_waits_and_few_may_wait() {
    let receiver = Receiver::new(|_| std::future::pending::<&str>());
    let options = AlarmOptions { pending: 3, timeout: PATIENCE, ..options() };
    let (webhook, runtime) = start(&receiver.url(), options);
    assert!(webhook.tell("{}".to_owned()));
    wait_until("the first is on its way", || receiver.inside() == 1);
    let taken = (0..10).filter(|_| webhook.tell("{}".to_owned())).count();
    assert_eq!(taken, 3);
    assert_eq!(webhook.sent(), NoticesSent { pending: 4, answered: 0, failed: 0, unsent: 7 });
    runtime.stop(Duration::from_millis(10));
}

#[test]
fn an_address_that_is_none_is_refused_and_not_shown() {
    let runtime = HttpRuntime::start(1).unwrap();
    let refused = AlertWebhook::start(&runtime, options(), "ftp://h/secret-path", None).err().unwrap();
    assert!(matches!(refused, StartError::AlertsUrl) && !refused.to_string().contains("secret-path"), "{refused}");
}
