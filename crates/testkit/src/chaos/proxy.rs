//! A TCP proxy on loopback whose network can be made to suffer, for one server.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinSet,
};

/// What the network between two processes does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Network {
    /// It works.
    Fine,
    /// Connections are cut, and new ones are cut at once.
    Cut,
    /// Everything arrives this much later.
    Slow(Duration),
    /// Requests arrive and answers do not; what lost an answer is cut in the end.
    AnswersLost,
    /// Connections that exist go silent for ever without being closed; new ones work.
    HalfOpen,
    /// Nothing arrives, and nobody is told; new connections are accepted and silent too.
    BlackHole,
}

impl Network {
    /// Every kind of suffering.
    pub(crate) const FAULTS: [Self; 5] = [
        Self::Cut,
        Self::Slow(Duration::from_millis(300)),
        Self::AnswersLost,
        Self::HalfOpen,
        Self::BlackHole,
    ];
}

/// A running proxy; dropping it ends every connection.
#[derive(Debug)]
pub(crate) struct Proxy {
    port: u16,
    network: watch::Sender<Network>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    /// Starts a proxy in front of a server on loopback.
    ///
    /// # Errors
    /// When it cannot listen.
    pub(crate) async fn start(server: u16) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let (network, watched) = watch::channel(Network::Fine);
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, server, watched));
        Ok(Self {
            port,
            network,
            _tasks: tasks,
        })
    }

    /// Where clients connect to.
    #[must_use]
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Changes what the network does, at once, for every connection.
    pub(crate) fn set(&self, network: Network) {
        self.network.send_replace(network);
    }
}

async fn accept(listener: TcpListener, server: u16, network: watch::Receiver<Network>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((client, _)) = accepted {
                    connections.spawn(connection(client, server, network.clone()));
                }
            }
            Some(_ended) = connections.join_next() => {}
        }
    }
}

async fn connection(client: TcpStream, server: u16, network: watch::Receiver<Network>) {
    if *network.borrow() == Network::Cut {
        return;
    }
    let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else {
        return;
    };
    // The proxy must not be what makes small messages slow.
    let _best_effort = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // A connection that was born into silence is not half-open but new, and works.
    let is_old = Arc::new(watch::Sender::new(false));
    let request = Pump {
        network: network.clone(),
        broken: Arc::clone(&is_old),
        is_answer: false,
    };
    let answer = Pump {
        network,
        broken: is_old,
        is_answer: true,
    };
    // Whichever side ends takes the other with it.
    tokio::select! {
        () = request.run(from_client, to_server) => {}
        () = answer.run(from_server, to_client) => {}
    }
}

/// One direction of a connection.
struct Pump {
    network: watch::Receiver<Network>,
    /// Whether something was lost on this connection, so that it can never be right again.
    broken: Arc<watch::Sender<bool>>,
    is_answer: bool,
}

impl Pump {
    async fn run(mut self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
        let mut buffer = vec![0_u8; 16 * 1024];
        // What was there before counts as seen, so a change that follows is one during its life.
        self.network.mark_unchanged();
        loop {
            tokio::select! {
                changed = self.network.changed() => {
                    if changed.is_err() || self.has_to_end().await {
                        return;
                    }
                }
                read = from.read(&mut buffer) => {
                    let Ok(length @ 1..) = read else { return };
                    let bytes = buffer.get(..length).unwrap_or_default();
                    if !self.pass(bytes, &mut to).await {
                        return;
                    }
                }
            }
        }
    }

    /// Takes note of another network.
    async fn has_to_end(&self) -> bool {
        let network = *self.network.borrow();
        match network {
            Network::Cut => true,
            Network::HalfOpen => std::future::pending().await,
            Network::Fine => *self.broken.borrow(),
            Network::Slow(_) | Network::AnswersLost | Network::BlackHole => false,
        }
    }

    async fn pass(&self, bytes: &[u8], to: &mut OwnedWriteHalf) -> bool {
        let network = *self.network.borrow();
        let is_lost = match network {
            Network::BlackHole => true,
            Network::AnswersLost => self.is_answer,
            Network::Slow(delay) => {
                // pause: this is the fault
                tokio::time::sleep(delay).await;
                false
            }
            Network::Fine | Network::Cut | Network::HalfOpen => false,
        };
        if is_lost || *self.broken.borrow() {
            self.broken.send_replace(true);
            return true;
        }
        to.write_all(bytes).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);
    /// Long enough to see that nothing comes.
    const SILENCE: Duration = Duration::from_millis(100);

    /// A server that sends back what it gets.
    async fn echo() -> (Proxy, JoinSet<()>) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.into_split();
                    let _over = tokio::io::copy(&mut read, &mut write).await;
                });
            }
        });
        (Proxy::start(port).await.unwrap(), tasks)
    }

    async fn connect(proxy: &Proxy) -> TcpStream {
        TcpStream::connect(("127.0.0.1", proxy.port()))
            .await
            .unwrap()
    }

    /// What comes back for a word: itself, nothing yet, or the end of the connection.
    async fn say(stream: &mut TcpStream, patience: Duration) -> Option<usize> {
        let asked = stream.write_all(b"word").await;
        let mut word = [0_u8; 4];
        match timeout(patience, stream.read(&mut word)).await {
            Ok(read) => Some(asked.and(read).unwrap_or(0)),
            Err(_) => None,
        }
    }

    #[tokio::test]
    async fn words_pass_and_slow_ones_pass_too() {
        let (proxy, _server) = echo().await;
        let mut stream = connect(&proxy).await;
        assert_eq!(say(&mut stream, PATIENCE).await, Some(4));
        proxy.set(Network::Slow(Duration::from_millis(5)));
        assert_eq!(say(&mut stream, PATIENCE).await, Some(4));
    }

    #[tokio::test]
    async fn cut_ends_old_and_new_connections_until_it_is_over() {
        let (proxy, _server) = echo().await;
        let mut stream = connect(&proxy).await;
        assert_eq!(say(&mut stream, PATIENCE).await, Some(4));
        proxy.set(Network::Cut);
        assert_eq!(say(&mut stream, PATIENCE).await, Some(0));
        assert_eq!(say(&mut connect(&proxy).await, PATIENCE).await, Some(0));
        proxy.set(Network::Fine);
        assert_eq!(say(&mut connect(&proxy).await, PATIENCE).await, Some(4));
    }

    #[tokio::test]
    async fn connection_that_lost_an_answer_is_cut_in_the_end() {
        for network in [Network::AnswersLost, Network::BlackHole] {
            let (proxy, _server) = echo().await;
            let mut stream = connect(&proxy).await;
            assert_eq!(say(&mut stream, PATIENCE).await, Some(4));
            proxy.set(network);
            assert_eq!(say(&mut stream, SILENCE).await, None, "{network:?}");
            proxy.set(Network::Fine);
            assert_eq!(say(&mut stream, PATIENCE).await, Some(0), "{network:?}");
        }
    }

    #[tokio::test]
    async fn half_open_connection_stays_silent_and_a_new_one_works() {
        let (proxy, _server) = echo().await;
        let mut stream = connect(&proxy).await;
        assert_eq!(say(&mut stream, PATIENCE).await, Some(4));
        proxy.set(Network::HalfOpen);
        assert_eq!(say(&mut stream, SILENCE).await, None);
        assert_eq!(say(&mut connect(&proxy).await, PATIENCE).await, Some(4));
        proxy.set(Network::Fine);
        assert_eq!(say(&mut stream, SILENCE).await, None);
    }
}
