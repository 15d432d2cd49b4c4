//! Signs for ssh with a key that is nowhere but in this process: the part of the ssh-agent protocol
//! that a client needs to prove who it is.
//!
//! There is no key file, so there is none to leave behind when the worker is killed; programs that ssh
//! or git start can have something signed while the repository is fetched, and never get the key.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::process::geteuid;
use slipway_core::ssh::key::{PrivateKey, string};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    task::JoinSet,
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Longest message that is read; ours are some hundred bytes.
const MESSAGE_MAX: u32 = 64 * 1024;
const FAILURE: u8 = 5;
const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;

/// A running agent; it ends when it is dropped.
#[derive(Debug)]
pub(super) struct Agent {
    socket: PathBuf,
    _stop: DropGuard,
}

impl Agent {
    /// Listens on a socket in this folder, which only this account may use.
    pub(super) fn start(folder: &Path, key: PrivateKey) -> io::Result<Self> {
        let socket = folder.join("agent");
        match fs::remove_file(&socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&socket)?;
        fs::set_permissions(&socket, fs::Permissions::from_mode(0o600))?;
        let stop = CancellationToken::new();
        let serving = serve(listener, Arc::new(key));
        tokio::spawn(stop.clone().run_until_cancelled_owned(serving));
        Ok(Self {
            socket,
            _stop: stop.drop_guard(),
        })
    }

    /// Where ssh finds it.
    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // The run's folder is removed anyhow; a socket that nobody serves gives nothing away.
        let _gone_with_its_folder = fs::remove_file(&self.socket);
    }
}

async fn serve(listener: UnixListener, key: Arc<PrivateKey>) {
    let mut clients = JoinSet::new();
    loop {
        while clients.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else {
            return;
        };
        let is_ours = stream
            .peer_cred()
            .is_ok_and(|peer| peer.uid() == geteuid().as_raw());
        if is_ours {
            let key = Arc::clone(&key);
            clients.spawn(async move { talk(stream, &key).await });
        }
    }
}

/// Answers one client until it goes or says something that is no message.
async fn talk(mut stream: UnixStream, key: &PrivateKey) -> io::Result<()> {
    loop {
        let length = stream.read_u32().await?;
        if length > MESSAGE_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut message = Vec::new();
        (&mut stream)
            .take(u64::from(length))
            .read_to_end(&mut message)
            .await?;
        stream.write_all(&string(&answer(&message, key))).await?;
    }
}

/// What is answered to a message: pure.
fn answer(message: &[u8], key: &PrivateKey) -> Vec<u8> {
    match message.split_first() {
        Some((&REQUEST_IDENTITIES, _)) => {
            let one = 1_u32.to_be_bytes();
            [
                &[IDENTITIES_ANSWER][..],
                &one,
                &string(&key.public()),
                &string(b"slipway"),
            ]
            .concat()
        }
        Some((&SIGN_REQUEST, rest)) => signed(rest, key).unwrap_or_else(|| vec![FAILURE]),
        // Among them everything that would add, remove or lock keys.
        _ => vec![FAILURE],
    }
}

fn signed(request: &[u8], key: &PrivateKey) -> Option<Vec<u8>> {
    let (public, rest) = take_string(request)?;
    let (data, _flags) = take_string(rest)?;
    (public == key.public()).then(|| [&[SIGN_RESPONSE][..], &string(&key.sign(data))].concat())
}

fn take_string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_key_signs_and_nothing_else_is_answered() {
        let (key, other) = (
            PrivateKey::generate().unwrap(),
            PrivateKey::generate().unwrap(),
        );
        let request = |public: &[u8]| {
            [
                &[SIGN_REQUEST][..],
                &string(public),
                &string(b"data"),
                &[0; 4],
            ]
            .concat()
        };
        let expected = [&[SIGN_RESPONSE][..], &string(&key.sign(b"data"))].concat();
        assert_eq!(answer(&request(&key.public()), &key), expected);
        assert_eq!(answer(&request(&other.public()), &key), [FAILURE]);
        let whole = request(&key.public());
        for length in 0..whole.len() - 4 {
            assert_eq!(answer(&whole[..length], &key), [FAILURE], "{length} bytes");
        }
        for kind in (0..=255).filter(|kind| ![REQUEST_IDENTITIES, SIGN_REQUEST].contains(kind)) {
            assert_eq!(answer(&[kind], &key), [FAILURE]);
        }
        let identities = answer(&[REQUEST_IDENTITIES], &key);
        assert!(
            identities
                .windows(key.public().len())
                .any(|part| part == key.public())
        );
        assert!(!identities.windows(32).any(|part| part == key.seed()));
    }

    #[tokio::test]
    async fn socket_is_private_and_gone_with_the_agent() {
        let folder = tempfile::tempdir().unwrap();
        let agent = Agent::start(folder.path(), PrivateKey::generate().unwrap()).unwrap();
        let socket = agent.socket().to_owned();
        let mode = fs::metadata(&socket).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let mut stream = UnixStream::connect(&socket).await.unwrap();
        stream
            .write_all(&string(&[REQUEST_IDENTITIES]))
            .await
            .unwrap();
        assert!(stream.read_u32().await.unwrap() > 50);
        drop(agent);
        assert!(!socket.exists());
        assert!(UnixStream::connect(&socket).await.is_err());
    }
}
