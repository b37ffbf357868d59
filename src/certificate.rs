//! TLS: the operator's certificate, or in development a certificate authority and a certificate of the server's own.
//!
//! The development authority lives in the data folder, so that a client is told once to trust it. Its key is readable by
//! its owner only.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// What TLS is served with, and what a client must trust where that is our own.
pub struct Certificate {
    pub config: Arc<ServerConfig>,
    pub authority: Option<PathBuf>,
}

/// The operator's files, in PEM.
pub fn from_files(cert: &Path, key: &Path) -> Result<Certificate, String> {
    Ok(Certificate { config: server_config(cert, key)?, authority: None })
}

/// The development certificate in `data/tls`, made where there is none.
pub fn for_development(data: &Path) -> Result<Certificate, String> {
    let folder = data.join("tls");
    let (authority, cert, key) = (folder.join("ca.pem"), folder.join("cert.pem"), folder.join("key.pem"));
    if !(authority.exists() && cert.exists() && key.exists()) {
        make(&folder, &authority, &cert, &key)
            .map_err(|error| format!("cannot make a development certificate in {}: {error}", folder.display()))?;
    }
    let authority = fs::canonicalize(&authority).unwrap_or(authority);
    Ok(Certificate { config: server_config(&cert, &key)?, authority: Some(authority) })
}

fn server_config(cert: &Path, key: &Path) -> Result<Arc<ServerConfig>, String> {
    let wrong = |path: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let chain: Vec<_> = CertificateDer::pem_file_iter(cert)
        .and_then(|certs| certs.collect::<Result<_, _>>())
        .map_err(|error| wrong(cert, &error))?;
    if chain.is_empty() {
        return Err(wrong(cert, &"there is no certificate in it (PEM is needed)"));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, &error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private))
        .map_err(|error| wrong(cert, &error))?;
    Ok(Arc::new(config))
}

fn make(folder: &Path, authority: &Path, cert: &Path, key: &Path) -> Result<(), Box<dyn std::error::Error>> {
    fs::create_dir_all(folder)?;
    let ca_key = KeyPair::generate()?;
    let mut ca = CertificateParams::default();
    ca.distinguished_name.push(DnType::CommonName, "Tidegate development authority");
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ca_cert = ca.self_signed(&ca_key)?;
    let server_key = KeyPair::generate()?;
    let names = ["localhost", "127.0.0.1", "::1"].map(String::from).to_vec();
    let mut server = CertificateParams::new(names)?;
    server.distinguished_name.push(DnType::CommonName, "localhost");
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    server.use_authority_key_identifier_extension = true;
    let server_cert = server.signed_by(&server_key, &Issuer::from_params(&ca, &ca_key))?;
    // The authority's own key is not kept: nothing else shall ever be signed with it.
    write_private(key, &server_key.serialize_pem())?;
    fs::write(cert, server_cert.pem())?;
    fs::write(authority, ca_cert.pem())?;
    Ok(())
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    io::Write::write_all(&mut file, text.as_bytes())
}
