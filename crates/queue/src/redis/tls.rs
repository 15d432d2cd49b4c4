//! TLS to Redis: which authorities are trusted, and nothing else.

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};

use super::error::ConnectError;

/// A client configuration that trusts `ca_file` alone, or the system's authorities without one.
pub(super) fn client_config(ca_file: Option<&Path>) -> Result<ClientConfig, ConnectError> {
    let roots = match ca_file {
        Some(path) => roots_from_file(path)?,
        None => roots_of_system()?,
    };
    // The provider is named, so this works whether or not the process has installed a default.
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

fn roots_from_file(path: &Path) -> Result<RootCertStore, ConnectError> {
    let unusable = |reason: String| ConnectError::CaFile {
        path: path.to_owned(),
        reason,
    };
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unusable(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots
            .add(certificate)
            .map_err(|error| unusable(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(unusable("it holds no certificate".to_owned()));
    }
    Ok(roots)
}

fn roots_of_system() -> Result<RootCertStore, ConnectError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err(ConnectError::NoSystemRoots);
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_file_that_is_missing_or_empty_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let missing = folder.path().join("missing.pem");
        let empty = folder.path().join("empty.pem");
        std::fs::write(&empty, "no certificate here").expect("a file");
        for path in [missing, empty] {
            let error = client_config(Some(&path)).expect_err("must be refused");
            let message = error.to_string();
            assert!(message.contains("redis.ca_file"), "{message}");
            assert!(message.contains(&path.display().to_string()), "{message}");
        }
    }
}
