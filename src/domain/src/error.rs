//! The one table of protocol errors: code, name, and whether the connection closes with it.
//!
//! Source: wire.md section 6. The name goes out as `reason`; SDKs compare it. Everything that a client can be told
//! is built here, so that a code is never typed twice.

/// A refusal as a client sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub code: Code,
    /// For people: what was wrong and what would be right. Never secret.
    pub detail: Option<Box<str>>,
    /// A hook's own code and words (`appCode`, `appMsg`).
    pub app: Option<(i32, Box<str>)>,
}

impl Failure {
    pub fn new(code: Code) -> Self {
        Failure { code, detail: None, app: None }
    }

    pub fn because(code: Code, detail: impl Into<Box<str>>) -> Self {
        Failure { code, detail: Some(detail.into()), app: None }
    }
}

impl From<Code> for Failure {
    fn from(code: Code) -> Self {
        Failure::new(code)
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal, $closes:literal;)*) => {
        /// Every code of the protocol that this server can say.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* $name,)* }

        impl Code {
            /// All of them, for tests and pages.
            pub const ALL: &'static [Code] = &[$(Code::$name,)*];

            pub fn number(self) -> i32 {
                match self { $(Code::$name => $number,)* }
            }

            /// The documented name, sent as `reason`.
            pub fn name(self) -> &'static str {
                match self { $(Code::$name => $text,)* }
            }

            /// Whether the WebSocket closes with this code; the rest leave it open, for it may carry other sessions.
            pub fn closes(self) -> bool {
                match self { $(Code::$name => $closes,)* }
            }
        }
    };
}

codes! {
    AppNotAvailable = 4100, "APP_NOT_AVAILABLE", true;
    SignatureFailed = 4102, "SIGNATURE_FAILED", false;
    InvalidLogin = 4103, "INVALID_LOGIN", false;
    SessionRequired = 4105, "SESSION_REQUIRED", false;
    Blacklisted = 4106, "BLACKLISTED", false;
    ReadTimeout = 4107, "READ_TIMEOUT", true;
    LoginTimeout = 4108, "LOGIN_TIMEOUT", true;
    /// A message over 5 KB is only refused; a frame too large to read closes the connection.
    FrameTooLong = 4109, "FRAME_TOO_LONG", true;
    InvalidOrigin = 4110, "INVALID_ORIGIN", true;
    SessionConflict = 4111, "SESSION_CONFLICT", false;
    SessionTokenExpired = 4112, "SESSION_TOKEN_EXPIRED", false;
    AppQuotaExceeded = 4113, "APP_QUOTA_EXCEEDED", false;
    Unparseable = 4114, "UNPARSEABLE_RAW_MESSAGE", true;
    KickedByApp = 4115, "KICKED_BY_APP", false;
    /// Too fast, or the server is too busy to take it: resend later.
    Overloaded = 4116, "MESSAGE_SENT_QUOTA_EXCEEDED", false;
    Internal = 4200, "INTERNAL_ERROR", false;
    ConversationInternal = 4300, "CONVERSATION_INTERNAL_ERROR", false;
    ConversationApiFailed = 4301, "CONVERSATION_API_FAILED", false;
    ConversationSignatureFailed = 4302, "CONVERSATION_SIGNATURE_FAILED", false;
    ConversationNotFound = 4303, "CONVERSATION_NOT_FOUND", false;
    ConversationFull = 4304, "CONVERSATION_FULL", false;
    ConversationRejectedByApp = 4305, "CONVERSATION_REJECTED_BY_APP", false;
    ConversationUpdateFailed = 4306, "CONVERSATION_UPDATE_FAILED", false;
    ConversationReadOnly = 4307, "CONVERSATION_READ_ONLY", false;
    ConversationNotAllowed = 4308, "CONVERSATION_NOT_ALLOWED", false;
    ConversationUpdateRejected = 4309, "CONVERSATION_UPDATE_REJECTED", false;
    ConversationQueryFailed = 4310, "CONVERSATION_QUERY_FAILED", false;
    ConversationLogFailed = 4311, "CONVERSATION_LOG_FAILED", false;
    ConversationLogRejected = 4312, "CONVERSATION_LOG_REJECTED", false;
    SystemConversationRequired = 4313, "SYSTEM_CONVERSATION_REQUIRED", false;
    NormalConversationRequired = 4314, "NORMAL_CONVERSATION_REQUIRED", false;
    TransientConversationRequired = 4316, "TRANSIENT_CONVERSATION_REQUIRED", false;
    MembershipRequired = 4317, "CONVERSATION_MEMBERSHIP_REQUIRED", false;
    OperationUnauthorized = 4320, "CONVERSATION_OPERATION_UNAUTHORIZED", false;
    TemporaryExpired = 4323, "TEMPORARY_CONVERSATION_EXPIRED", false;
    MemberInfoDisabled = 4325, "CONVERSATION_MEMBER_INFO_FEATURE_DISABLED", false;
    InvalidTarget = 4401, "INVALID_MESSAGING_TARGET", false;
    MessageRejectedByApp = 4402, "MESSAGE_REJECTED_BY_APP", false;
    MessageEditDisabled = 4406, "MESSAGE_EDIT_DISABLED", false;
    MessageRecallDisabled = 4407, "MESSAGE_RECALL_DISABLED", false;
    BlacklistDisabled = 4544, "BLACKLIST_FEATURE_DISABLED", false;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn numbers_and_names_are_unique() {
        let numbers: HashSet<_> = Code::ALL.iter().map(|c| c.number()).collect();
        let names: HashSet<_> = Code::ALL.iter().map(|c| c.name()).collect();
        assert_eq!((numbers.len(), names.len()), (Code::ALL.len(), Code::ALL.len()));
    }

    #[test]
    fn only_the_documented_reasons_close_a_connection() {
        let closing: Vec<_> = Code::ALL.iter().filter(|c| c.closes()).map(|c| c.number()).collect();
        assert_eq!(closing, [4100, 4107, 4108, 4109, 4110, 4114]);
    }
}
