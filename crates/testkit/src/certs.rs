//! A private certificate authority, made afresh for each test run so that no key is ever kept.

use std::{fs, io, path::Path};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, Error, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

/// A certificate authority that nobody else trusts.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate with its private key.
#[derive(Debug)]
pub struct Certificate {
    /// The certificate.
    pub pem: String,
    /// Its private key.
    pub key_pem: String,
}

impl Authority {
    /// Makes an authority.
    ///
    /// # Errors
    /// When there are no random bytes for a key.
    pub fn new() -> Result<Self, Error> {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "Slipway test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let pem = params.self_signed(&key)?.pem();
        Ok(Self {
            issuer: Issuer::new(params, key),
            pem,
        })
    }

    /// The authority's own certificate, which clients are told to trust.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Signs a server certificate for these host names and addresses.
    ///
    /// # Errors
    /// When a name cannot stand in a certificate.
    pub fn issue(&self, names: &[&str]) -> Result<Certificate, Error> {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let params = CertificateParams::new(names)?;
        let key = KeyPair::generate()?;
        let pem = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Certificate {
            pem,
            key_pem: key.serialize_pem(),
        })
    }

    /// Writes `ca.pem`, and `server.pem` with `server.key` for loopback, into a folder.
    ///
    /// # Errors
    /// When a certificate cannot be made or a file cannot be written.
    pub fn write_loopback(&self, folder: &Path) -> io::Result<()> {
        let server = self
            .issue(&["localhost", "127.0.0.1"])
            .map_err(io::Error::other)?;
        fs::write(folder.join("ca.pem"), &self.pem)?;
        fs::write(folder.join("server.pem"), server.pem)?;
        fs::write(folder.join("server.key"), server.key_pem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_files_are_a_certificate_its_key_and_the_authority() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new().unwrap();
        authority.write_loopback(folder.path()).unwrap();
        let first_line = |name: &str| {
            let text = fs::read_to_string(folder.path().join(name)).unwrap();
            text.lines().next().unwrap_or_default().to_owned()
        };
        assert_eq!(first_line("server.pem"), "-----BEGIN CERTIFICATE-----");
        assert_eq!(first_line("server.key"), "-----BEGIN PRIVATE KEY-----");
        assert_eq!(
            fs::read_to_string(folder.path().join("ca.pem")).unwrap(),
            authority.pem()
        );
    }

    #[test]
    fn two_authorities_share_nothing() {
        assert_ne!(
            Authority::new().unwrap().pem(),
            Authority::new().unwrap().pem()
        );
    }

    #[test]
    fn name_that_is_no_name_is_refused() {
        assert!(
            Authority::new()
                .unwrap()
                .issue(&["snow\u{2603}man"])
                .is_err()
        );
    }
}
