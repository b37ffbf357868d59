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
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tidegate_config::WrongFile;

/// What TLS is served with, and what a client must trust where that is our own.
pub struct Certificate {
    pub config: Arc<ServerConfig>,
    pub authority: Option<PathBuf>,
}

/// The operator's files, in PEM.
pub fn from_files(cert: &Path, key: &Path) -> Result<Certificate, WrongFile> {
    Ok(Certificate { config: server_config(cert, key)?, authority: None })
}

/// Where in a data folder the development certificate is.
pub struct Files {
    folder: PathBuf,
    authority: PathBuf,
    pub cert: PathBuf,
    pub key: PathBuf,
}

impl Files {
    pub fn in_data(data: &Path) -> Files {
        let folder = data.join("tls");
        let [authority, cert, key] = ["ca.pem", "cert.pem", "key.pem"].map(|name| folder.join(name));
        Files { folder, authority, cert, key }
    }
}

/// The development certificate in `data/tls`, made where there is none.
pub fn for_development(data: &Path) -> Result<Certificate, String> {
    let Files { folder, authority, cert, key } = Files::in_data(data);
    if !(authority.exists() && cert.exists() && key.exists()) {
        make(&folder, &authority, &cert, &key)
            .map_err(|error| format!("cannot make a development certificate in {}: {error}", folder.display()))?;
    }
    let authority = fs::canonicalize(&authority).unwrap_or(authority);
    let config = server_config(&cert, &key).map_err(|wrong| format!("{}: {}", folder.display(), wrong.reason))?;
    Ok(Certificate { config, authority: Some(authority) })
}

/// The certificates of a PEM file; at least one.
pub fn chain(cert: &Path) -> Result<Vec<CertificateDer<'static>>, WrongFile> {
    let chain = CertificateDer::pem_file_iter(cert).and_then(|certs| certs.collect::<Result<Vec<_>, _>>());
    let chain = chain.map_err(|error| unreadable("cert", error, "there is no certificate in it (PEM is needed)"))?;
    if chain.is_empty() {
        return Err(wrong("cert", "there is no certificate in it (PEM is needed)"));
    }
    Ok(chain)
}

fn server_config(cert: &Path, key: &Path) -> Result<Arc<ServerConfig>, WrongFile> {
    let chain = chain(cert)?;
    let private = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| unreadable("key", error, "there is no private key in it (PEM is needed)"))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private))
        .map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => wrong("key", "it is not the key of the certificate"),
            error => wrong("cert", error),
        })?;
    Ok(Arc::new(config))
}

fn wrong(key: &'static str, reason: impl std::fmt::Display) -> WrongFile {
    WrongFile { key, reason: reason.to_string() }
}

fn unreadable(key: &'static str, error: pem::Error, empty: &str) -> WrongFile {
    match error {
        pem::Error::Io(error) if error.kind() == io::ErrorKind::NotFound => wrong(key, "there is no such file"),
        pem::Error::Io(error) => wrong(key, error),
        pem::Error::NoItemsFound => wrong(key, empty),
        error => wrong(key, error),
    }
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
    write(key, &server_key.serialize_pem(), 0o600)?;
    write(cert, &server_cert.pem(), 0o644)?;
    write(authority, &ca_cert.pem(), 0o644)?;
    fs::File::open(folder)?.sync_all()?;
    Ok(())
}

/// A power cut leaves all of it, or no file of this name: half a certificate would stop every later start.
fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let new = path.with_extension("new");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&new)?;
    io::Write::write_all(&mut file, text.as_bytes())?;
    file.sync_all()?;
    fs::rename(new, path)
}
