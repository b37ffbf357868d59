//! The real binary with a data folder and ports of its own.
//!
//! Owns the process: it is killed when the test ends, and what it said is printed when the test failed. A restart keeps
//! folder, ports and configuration, so that clients find it again.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::faults::Faults;
use super::{PATIENCE, eventually, http};

/// The program under test, told nothing by the environment.
pub fn tidegate() -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    for name in ["CONFIG", "DATA", "LOG", "LOG_FORMAT", "ADMIN", "ADMIN_TOKEN"] {
        program.env_remove(format!("TIDEGATE_{name}"));
    }
    program
}

/// What differs from the built-in pipeline.
#[derive(Default)]
pub struct Setup {
    /// Lines of `[listen]` beside the addresses.
    pub listen: &'static str,
    /// Tables: apps, stages, pools and the like.
    pub tables: String,
    /// What a shell does before it becomes the server, at the first start only: limits and the like.
    pub first: &'static str,
    /// Whether the machine is to fail: see [`Server::faults`].
    pub shim: Shim,
}

/// Whether the machine that the server runs on can be made to fail.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Shim {
    #[default]
    None,
    Faults,
    /// The same, and what a power cut would leave is accounted for.
    PowerCuts,
}

pub struct Server {
    child: Option<Child>,
    faults: Option<Faults>,
    ready_after: Duration,
    folder: TempDir,
    ports: [u16; 3],
    starts: u32,
    first: &'static str,
}

impl Server {
    /// The built-in pipeline and the development app.
    pub fn start() -> Server {
        Server::launch(Setup::default())
    }

    /// With these tables in its configuration.
    pub fn with(tables: impl Into<String>) -> Server {
        Server::launch(Setup { tables: tables.into(), ..Setup::default() })
    }

    pub fn launch(setup: Setup) -> Server {
        let folder = TempDir::new().unwrap();
        let ports = [free_port(), free_port(), free_port()];
        let faults = (setup.shim != Shim::None).then(|| Faults::begin(folder.path(), setup.shim == Shim::PowerCuts));
        let (first, ready_after) = (setup.first, Duration::ZERO);
        let mut server = Server { child: None, faults, ready_after, folder, ports, starts: 0, first };
        let config = format!(
            "[listen]\nhttp = \"{}\"\ntcp = \"{}\"\nadmin = \"{}\"\n{}\n\n{}\n",
            server.http(),
            server.tcp(),
            server.admin(),
            setup.listen,
            setup.tables
        );
        fs::write(server.config(), config).unwrap();
        server.up();
        server
    }

    pub fn http(&self) -> SocketAddr {
        loopback(self.ports[0])
    }

    pub fn tcp(&self) -> SocketAddr {
        loopback(self.ports[1])
    }

    pub fn admin(&self) -> SocketAddr {
        loopback(self.ports[2])
    }

    pub fn config(&self) -> PathBuf {
        self.folder.path().join("pipeline.toml")
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// What it printed since its last start, both streams.
    pub fn said(&self) -> String {
        fs::read_to_string(self.output()).unwrap_or_default()
    }

    /// The certificate authority that it made, as it tells people to trust it.
    pub fn authority(&self) -> PathBuf {
        let said = eventually("a line with NODE_EXTRA_CA_CERTS", || {
            let said = self.said();
            said.contains("NODE_EXTRA_CA_CERTS=").then_some(said)
        });
        let path = said.split("NODE_EXTRA_CA_CERTS=").nth(1).and_then(|rest| rest.split_whitespace().next());
        PathBuf::from(path.unwrap().trim_matches(['"', '\'', '`']))
    }

    /// Where it was launched with [`Setup::shim`].
    pub fn faults(&self) -> &Faults {
        self.faults.as_ref().expect("it was launched with a shim")
    }

    /// How long the last start took, from the start of the process until `/readyz` said so.
    pub fn ready_after(&self) -> Duration {
        self.ready_after
    }

    /// Kills the process that now runs, from beside whoever uses the server.
    pub fn killer(&self) -> impl FnOnce() + use<> {
        let pid = self.pid();
        move || signal(pid, "KILL")
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// As a power cut would have it, for the process.
    pub fn kill9(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Asks it to stop, as a service manager does.
    pub fn term(&self) {
        signal(self.pid(), "TERM");
    }

    /// Waits for the end that [`Server::term`] asked for.
    pub fn ended(&mut self, within: Duration) -> ExitStatus {
        let end = Instant::now() + within;
        loop {
            if let Some(status) = self.child.as_mut().expect("it runs").try_wait().unwrap() {
                self.child = None;
                return status;
            }
            assert!(Instant::now() < end, "it still runs {within:?} after it was asked to stop");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Starts it again on the same folder and ports, where need be after killing it.
    pub fn restart(&mut self) {
        if self.child.is_some() {
            self.kill9();
        }
        self.up();
    }

    fn output(&self) -> PathBuf {
        self.folder.path().join(format!("said-{}.txt", self.starts))
    }

    fn up(&mut self) {
        self.starts += 1;
        let output = File::create(self.output()).unwrap();
        let mut program = match self.first {
            "" => tidegate(),
            before => {
                let mut shell = Command::new("sh");
                let server = env!("CARGO_BIN_EXE_tidegate");
                shell.args(["-c", &format!("{before}; exec \"$0\" \"$@\""), server]);
                shell
            }
        };
        self.first = "";
        if let Some(faults) = &self.faults {
            faults.load_into(&mut program, &self.data());
        }
        let begun = Instant::now();
        let child = program
            .args(["run", "--config"])
            .arg(self.config())
            .arg("--data")
            .arg(self.data())
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        self.child = Some(child);
        let end = Instant::now() + PATIENCE;
        loop {
            let answer = http::request(self.admin(), "GET", "/readyz", "");
            if answer.as_ref().is_ok_and(|answer| answer.status == 200) {
                self.ready_after = begun.elapsed();
                return;
            }
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "it ended at its start with {ended:?}");
            assert!(Instant::now() < end, "it is not ready after {PATIENCE:?}: {answer:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            _ = child.kill();
            _ = child.wait();
        }
        if std::thread::panicking() {
            let config = fs::read_to_string(self.config()).unwrap_or_default();
            eprintln!("--- configuration\n{config}\n--- the server said\n{}\n---", self.said());
        }
    }
}

/// Sends a signal by its name.
pub fn signal(pid: u32, name: &str) {
    // The shell has `kill` built in; not every machine has the program.
    let sent = Command::new("sh").arg("-c").arg(format!("kill -{name} {pid}")).status().unwrap();
    assert!(sent.success());
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// A port that nobody listens on, below those that the system gives to outgoing connections, so that it stays free
/// while the server is down.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    const FIRST: u32 = 12_000;
    const COUNT: u32 = 20_000;
    // Programs that run side by side begin at different places.
    let start = std::process::id().wrapping_mul(7919) % COUNT;
    loop {
        let port = (FIRST + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT) as u16;
        if TcpListener::bind(loopback(port)).is_ok() {
            return port;
        }
    }
}

/// All files of a folder, with their lengths: two equal answers mean that nobody wrote.
pub fn listing(folder: &Path) -> Vec<(PathBuf, u64)> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .map(|entries| entries.flatten().map(|e| (e.path(), e.metadata().map_or(0, |m| m.len()))).collect())
        .unwrap_or_default();
    files.sort();
    files
}
