//! Reads what the server is served with: when certificates end, and who may read the files that hold secrets.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use x509_parser::prelude::{FromDer, X509Certificate};

use super::tls::{Certificate, Secret};

/// The certificates of a PEM file, or why there are none.
pub fn read(file: &Path) -> Result<Vec<Certificate>, String> {
    let name = file.display().to_string();
    let chain = crate::certificate::chain(file).map_err(|wrong| format!("{name}: {}", wrong.reason))?;
    let one = |der: &[u8]| {
        let (_, parsed) = X509Certificate::from_der(der).map_err(|error| format!("{name}: {error}"))?;
        Ok(Certificate {
            file: name.clone(),
            subject: parsed.subject().to_string(),
            from: parsed.validity().not_before.timestamp(),
            to: parsed.validity().not_after.timestamp(),
        })
    };
    chain.iter().map(|der| one(der)).collect()
}

/// Who may read a file; `None` where there is none.
pub fn secret(file: &Path, holds: &'static str) -> Option<Secret> {
    let mode = fs::metadata(file).ok()?.permissions().mode() & 0o777;
    Some(Secret { file: file.display().to_string(), holds, mode })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dates_are_those_of_the_certificate() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cert.pem");
        let mut wanted = rcgen::CertificateParams::new(vec!["chat.example.com".to_owned()]).unwrap();
        (wanted.not_before, wanted.not_after) = (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(2020, 1, 2));
        let certificate = wanted.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        fs::write(&file, certificate.pem()).unwrap();
        let found = read(&file).unwrap();
        assert_eq!((found.len(), found[0].from, found[0].to), (1, 1_577_836_800, 1_577_923_200));
        fs::write(&file, "no certificate").unwrap();
        assert!(read(&file).is_err() && read(&folder.path().join("none")).is_err());
    }
}
