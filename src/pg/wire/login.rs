//! The start of a session: startup packet, authentication, the server's settings, ready.

use super::error::{Lost, ServerError, WireError};
use super::stream::Stream;
use crate::pg::dial::DialError;
use crate::pg::{Host, Who, tls};
use fallible_iterator::FallibleIterator;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::backend::{AuthenticationSaslBody, Message};
use postgres_protocol::message::frontend;

/// Why a login failed, before it is known to whom.
pub(super) enum Failed {
    Refused(Box<ServerError>),
    Lost(Lost),
    Authentication(String),
}

impl Failed {
    pub(super) fn at(self, host: &Host) -> WireError {
        let (host, port) = (host.host.clone(), host.port);
        match self {
            Failed::Refused(source) => WireError::Refused { host, port, source },
            Failed::Lost(Lost::Io(source)) => {
                let source = std::io::Error::new(source.kind(), tls::in_words(&source));
                WireError::Unreachable { host, port, source }
            }
            Failed::Lost(other) => {
                WireError::Unreachable { host, port, source: std::io::Error::other(other.to_string()) }
            }
            Failed::Authentication(reason) => WireError::Authentication { host, port, reason },
        }
    }
}

impl From<Lost> for Failed {
    fn from(lost: Lost) -> Self {
        Failed::Lost(lost)
    }
}

impl From<std::io::Error> for Failed {
    fn from(error: std::io::Error) -> Self {
        Failed::Lost(Lost::Io(error))
    }
}

impl From<DialError> for Failed {
    fn from(error: DialError) -> Self {
        match error {
            DialError::Io(error) => Failed::Lost(Lost::Io(error)),
            DialError::Tls(reason) => Failed::Authentication(reason),
        }
    }
}

/// Logs in and reads on until the server is ready for queries.
pub(super) async fn log_in(stream: &mut Stream, login: Who<'_>) -> Result<(), Failed> {
    let parameters = [
        ("user", login.user),
        ("database", login.dbname),
        ("application_name", login.application_name),
        ("client_encoding", "UTF8"),
    ];
    let options = login.options.map(|options| ("options", options));
    frontend::startup_message(parameters.into_iter().chain(options), &mut stream.outgoing)?;
    send(stream).await?;
    let mut scram = None;
    loop {
        match receive(stream).await? {
            // AuthenticationOk says only that this step is over: trust, or the end of an exchange.
            Message::AuthenticationOk
            | Message::NoticeResponse(_)
            | Message::ParameterStatus(_)
            | Message::BackendKeyData(_) => {}
            Message::AuthenticationCleartextPassword => {
                frontend::password_message(password(login)?, &mut stream.outgoing)?;
                send(stream).await?;
            }
            Message::AuthenticationMd5Password(body) => {
                let hash = md5_hash(login.user.as_bytes(), password(login)?, body.salt());
                frontend::password_message(hash.as_bytes(), &mut stream.outgoing)?;
                send(stream).await?;
            }
            Message::AuthenticationSasl(body) => {
                let first = scram.insert(begin_scram(&body, login)?);
                frontend::sasl_initial_response(SCRAM_SHA_256, first.message(), &mut stream.outgoing)?;
                send(stream).await?;
            }
            Message::AuthenticationSaslContinue(body) => {
                let exchange = scram.as_mut().ok_or_else(out_of_turn)?;
                exchange.update(body.data()).map_err(|e| Failed::Authentication(format!("SCRAM: {e}")))?;
                frontend::sasl_response(exchange.message(), &mut stream.outgoing)?;
                send(stream).await?;
            }
            Message::AuthenticationSaslFinal(body) => {
                let exchange = scram.as_mut().ok_or_else(out_of_turn)?;
                exchange.finish(body.data()).map_err(|e| Failed::Authentication(format!("SCRAM: {e}")))?;
            }
            Message::ReadyForQuery(_) => return Ok(()),
            _ => {
                return Err(Failed::Authentication(
                    "the server asks for a method other than trust, password, md5 and scram-sha-256".into(),
                ));
            }
        }
    }
}

fn begin_scram(body: &AuthenticationSaslBody, login: Who<'_>) -> Result<ScramSha256, Failed> {
    if !body.mechanisms().any(|mechanism| Ok(mechanism == SCRAM_SHA_256))? {
        return Err(Failed::Authentication("the server offers no SCRAM-SHA-256".into()));
    }
    Ok(ScramSha256::new(password(login)?, ChannelBinding::unsupported()))
}

fn out_of_turn() -> Failed {
    Failed::Authentication("the server continued a SCRAM exchange that was not begun".into())
}

fn password<'a>(login: Who<'a>) -> Result<&'a [u8], Failed> {
    match login.password {
        "" => Err(Failed::Authentication(format!(
            "the server asks for the password of `{}` and none is given",
            login.user
        ))),
        password => Ok(password.as_bytes()),
    }
}

async fn send(stream: &mut Stream) -> Result<(), Failed> {
    stream.flush().await.map_err(|(lost, _)| Failed::Lost(lost))
}

async fn receive(stream: &mut Stream) -> Result<Message, Failed> {
    loop {
        if let Some(frame) = stream.frame()? {
            if frame.tag() == b'E' {
                return Err(Failed::Refused(Box::new(ServerError::read(frame.whole())?)));
            }
            match Message::parse(&mut frame.whole().into())? {
                Some(message) => return Ok(message),
                None => return Err(Failed::Lost(Lost::Garbled("the server sent a short message".into()))),
            }
        }
        stream.fill().await?;
    }
}
