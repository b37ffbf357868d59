//! A call-back that is called exactly once, even when the task that holds it is thrown away.
//!
//! The pipeline keeps a place for each question; one that were never answered would hold it until its deadline.

pub(crate) struct Once<T: Send> {
    done: Option<Box<dyn FnOnce(T) + Send>>,
    /// Told when nobody else did.
    lost: Option<T>,
}

impl<T: Send> Once<T> {
    pub fn new(done: Box<dyn FnOnce(T) + Send>, lost: T) -> Self {
        Once { done: Some(done), lost: Some(lost) }
    }

    pub fn tell(mut self, answer: T) {
        if let Some(done) = self.done.take() {
            done(answer);
        }
    }
}

impl<T: Send> Drop for Once<T> {
    fn drop(&mut self) {
        if let (Some(done), Some(lost)) = (self.done.take(), self.lost.take()) {
            done(lost);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn it_is_told_once_and_when_dropped_too() {
        let (told, heard) = mpsc::channel();
        let (first, second) = (told.clone(), told);
        Once::new(Box::new(move |n| first.send(n).expect("heard")), 0).tell(7);
        drop(Once::new(Box::new(move |n| second.send(n).expect("heard")), 9));
        assert_eq!(heard.iter().collect::<Vec<i32>>(), [7, 9]);
    }
}
