//! Whose certificates are believed.

use anyhow::Context as _;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use std::{path::Path, sync::Arc};

/// The authorities that are trusted, read once.
#[derive(Clone, Debug)]
pub(super) struct Roots {
    /// Each of them is one that rustls takes.
    pub(super) certificates: Arc<[CertificateDer<'static>]>,
    /// For HTTP.
    pub(super) config: ClientConfig,
}

impl Roots {
    /// Those of the system, and one more file of them.
    pub(super) fn read(ca_file: Option<&Path>) -> anyhow::Result<Self> {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(error = %error, "some of the system's authorities cannot be read");
        }
        let mut certificates = found.certs;
        let mut store = RootCertStore::empty();
        certificates.retain(|certificate| store.add(certificate.clone()).is_ok());
        if let Some(path) = ca_file {
            let unusable = || format!("notifications.ca_file {} cannot be used", path.display());
            let own: Vec<_> = CertificateDer::pem_file_iter(path)
                .and_then(Iterator::collect)
                .with_context(unusable)?;
            anyhow::ensure!(!own.is_empty(), "{}: no certificate in it", unusable());
            for certificate in own {
                store.add(certificate.clone()).with_context(unusable)?;
                certificates.push(certificate);
            }
        }
        // The provider is named, so this works whether or not the process has installed a default.
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(store)
            .with_no_client_auth();
        Ok(Self {
            certificates: certificates.into(),
            config,
        })
    }
}
