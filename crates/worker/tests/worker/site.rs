//! A web server that stands for a deployed application.

use std::sync::{
    Arc,
    atomic::{AtomicU16, Ordering},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

/// Answers every request with a status that the test can change.
pub(crate) struct Site {
    pub(crate) url: String,
    status: Arc<AtomicU16>,
}

impl Site {
    pub(crate) async fn start(status: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/health", listener.local_addr().unwrap());
        let status = Arc::new(AtomicU16::new(status));
        tokio::spawn(answer(listener, Arc::clone(&status)));
        Self { url, status }
    }

    pub(crate) fn answers(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    /// The `health` section of a pipeline that asks this site.
    pub(crate) fn section(&self) -> String {
        format!(
            "health: {{ url: \"{}\", attempts: 2, interval: 10ms }}\n",
            self.url
        )
    }
}

async fn answer(listener: TcpListener, status: Arc<AtomicU16>) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _request = stream.read(&mut [0; 4096]).await.unwrap();
        let status = status.load(Ordering::SeqCst);
        let text =
            format!("HTTP/1.1 {status} Status\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        // Whoever asked may have stopped waiting.
        let _answered = stream.write_all(text.as_bytes()).await;
    }
}
