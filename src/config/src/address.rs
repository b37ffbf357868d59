//! Addresses, networks, URLs and origins, as they are written and read. Nothing is looked up.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use ipnet::IpNet;
use url::Url;

use crate::form::Wrong;

pub(crate) fn parse_address(text: &str) -> Result<SocketAddr, Wrong> {
    if let Ok(address) = SocketAddr::from_str(text) {
        return Ok(address);
    }
    if let Some((scheme, rest)) = text.split_once("://") {
        let wrong = Wrong::because(format!("no `{scheme}://` here: this is what to listen on, not a URL"));
        let rest = rest.trim_end_matches('/').replace("localhost", "127.0.0.1");
        return Err(if SocketAddr::from_str(&rest).is_ok() { wrong.write(format!("\"{rest}\"")) } else { wrong });
    }
    let last = text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
    if let Some((host, port)) = last
        && Ipv6Addr::from_str(host).is_ok()
    {
        return Err(Wrong::because("an IPv6 address stands in brackets").write(format!("\"[{host}]:{port}\"")));
    }
    if let Ok(ip) = IpAddr::from_str(text.trim_matches(['[', ']'])) {
        let shown = if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() };
        return Err(Wrong::because("no port").write(format!("\"{shown}:7700\"")));
    }
    if let Ok(port) = text.trim_start_matches(':').parse::<u16>() {
        return Err(Wrong::because("no address before the port").write(format!("\"127.0.0.1:{port}\"")));
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(Wrong::because("no IP address with a port; names are not looked up"));
    };
    let Ok(port) = port.parse::<u16>() else {
        return Err(Wrong::because("no port from 0 to 65535 behind the colon"));
    };
    Err(match host {
        "localhost" => Wrong::because("names are not looked up").write(format!("\"127.0.0.1:{port}\"")),
        "*" => Wrong::because("`*` is no address").write(format!("\"0.0.0.0:{port}\"")),
        _ if host.chars().all(|c| c.is_ascii_digit() || c == '.') => Wrong::because("no valid IP address"),
        _ => Wrong::because("names are not looked up; write an IP address"),
    })
}

pub(crate) fn parse_url(text: &str, schemes: &[&str]) -> Result<String, Wrong> {
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(url::ParseError::RelativeUrlWithoutBase) => {
            let guess = format!("{}://{text}", schemes[0]);
            let wrong = Wrong::because(format!("no `{}://` at its start", schemes[0]));
            return Err(if Url::parse(&guess).is_ok() { wrong.write(format!("\"{guess}\"")) } else { wrong });
        }
        Err(error) => return Err(Wrong::because(error.to_string())),
    };
    if !schemes.contains(&url.scheme()) {
        let wrong = match url.cannot_be_a_base() {
            true => Wrong::because(format!("no `{}://` at its start", schemes[0])),
            false => Wrong::because(format!("`{}` is not one of {}", url.scheme(), schemes.join(", "))),
        };
        // `host:port/path` reads as a scheme.
        let guess = match url.scheme() {
            "ws" | "http" => text.split_once("://").map(|(_, rest)| format!("http://{rest}")),
            "wss" | "https" => text.split_once("://").map(|(_, rest)| format!("https://{rest}")),
            _ if url.cannot_be_a_base() => Some(format!("{}://{text}", schemes[0])),
            _ => None,
        };
        let good = |guess: &String| Url::parse(guess).is_ok_and(|url| schemes.contains(&url.scheme()));
        return Err(match guess.filter(good) {
            Some(guess) => wrong.write(format!("\"{guess}\"")),
            None => wrong,
        });
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(Wrong::because("no host"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Wrong::because("a name or password in a URL ends in logs; the server sends none"));
    }
    if url.fragment().is_some() {
        return Err(Wrong::because("a `#…` part is never sent"));
    }
    Ok(text.into())
}

pub(crate) fn parse_origin(text: &str) -> Result<String, Wrong> {
    if text == "*" {
        return Err(Wrong::because("leave `origins` out to admit every origin"));
    }
    let url = match Url::parse(text) {
        Ok(url) if url.has_host() => url,
        _ => {
            let guess = format!("https://{text}");
            let wrong = Wrong::because("no `https://` at its start");
            return Err(match Url::parse(&guess) {
                Ok(url) if url.has_host() && url.path() == "/" => {
                    wrong.write(format!("\"{}\"", url.origin().ascii_serialization()))
                }
                _ => Wrong::because("not SCHEME://HOST"),
            });
        }
    };
    let origin = match url.origin() {
        origin @ url::Origin::Tuple(..) => origin.ascii_serialization(),
        // Pages in apps have schemes of their own (`capacitor://localhost`).
        url::Origin::Opaque(_) => return Ok(text.into()),
    };
    if origin != text {
        return Err(Wrong::because("more than an origin, or not as browsers write it").write(format!("\"{origin}\"")));
    }
    Ok(origin)
}

/// `ADDRESS/BITS`, or an address alone.
pub(crate) fn parse_network(text: &str) -> Result<IpNet, Wrong> {
    if let Ok(address) = IpAddr::from_str(text) {
        return Ok(IpNet::from(address));
    }
    match (IpNet::from_str(text), text.split_once('/')) {
        (Ok(network), _) => Ok(network),
        (Err(_), Some((address, bits))) => match IpAddr::from_str(address) {
            Ok(ip) if bits.parse::<u16>().is_ok() => {
                let most = if ip.is_ipv4() { 32 } else { 128 };
                Err(Wrong::because(format!("such an address has no more than {most} bits"))
                    .write(format!("\"{ip}/{most}\"")))
            }
            Ok(_) => Err(Wrong::because("behind the slash stands no number of bits")),
            Err(_) => Err(Wrong::because("before the slash stands no IP address")),
        },
        (Err(_), None) => Err(Wrong::because("this is no IP address; names are not looked up")),
    }
}
