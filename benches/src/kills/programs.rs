//! The two programs as processes: the server and a trainer, each killed and started again.

use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How often a process that may end is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// Both programs, with one server up.
pub(crate) struct Programs {
    here: PathBuf,
    images: u64,
    server: Running,
    /// That it keeps.
    port: u16,
}

/// A process that dies with this one's interest in it.
pub(crate) struct Running {
    child: Child,
    name: String,
}

impl Programs {
    /// A server of the demo's faces on a free port, and trainers of so many images whose runs lie in a
    /// folder.
    pub(crate) fn start(here: &Path, images: u64) -> Result<Self, Box<dyn Error>> {
        let (server, port) = serve(here, 0)?;
        Ok(Self { here: here.to_owned(), images, server, port })
    }

    /// Kills the server, and starts another at once.
    pub(crate) fn kill_server(&mut self) -> Result<(), Box<dyn Error>> {
        self.server.kill()?;
        (self.server, _) = serve(&self.here, self.port)?;
        Ok(())
    }

    /// Starts a training, or goes on with the one of that name.
    pub(crate) fn train(&self, name: &str) -> Result<Running, Box<dyn Error>> {
        let mut command = program("lookalike-client", &self.here)?;
        let url = format!("http://127.0.0.1:{}", self.port);
        command.args(["train", "--server", &url, "--patience", "300", "--quiet"]);
        // One that was killed before it had settings has done nothing yet.
        if self.here.join(name).join("config.toml").is_file() {
            command.args(["--resume", name]);
        } else {
            let _ = std::fs::remove_dir_all(self.here.join(name));
            let images = self.images.to_string();
            let rhythm = (self.images / 20).max(8).to_string();
            command.args(["--arch", "lightcnn-9", "--width", "tiny", "--batch", "8", "--prefetch", "1", "--seed", "3"]);
            command.args(["--images", &images, "--checkpoint-every", &rhythm, "--out", name]);
        }
        Running::start(command, name)
    }
}

/// A server that says where it listens.
fn serve(here: &Path, port: u16) -> Result<(Running, u16), Box<dyn Error>> {
    let mut command = program("lookalike-server", here)?;
    command.args(["serve", "--json", "--quiet", "--metrics", "127.0.0.1:0", "--listen", &format!("127.0.0.1:{port}")]);
    let mut server = Running::start(command, "the server")?;
    let mut ready = String::new();
    if let Some(stdout) = server.child.stdout.take() {
        BufReader::new(stdout).read_line(&mut ready)?;
    }
    let ready: serde_json::Value =
        serde_json::from_str(&ready).map_err(|_| "the server doesn't say where it listens")?;
    let address = ready["listen"].as_str().unwrap_or_default().parse::<std::net::SocketAddr>()?;
    Ok((server, address.port()))
}

/// A program that lies beside this one, with its words in a file.
fn program(name: &str, here: &Path) -> Result<Command, Box<dyn Error>> {
    let program = std::env::current_exe()?.with_file_name(name);
    let mut command = Command::new(program);
    let words = File::options().create(true).append(true).open(here.join(format!("{name}.log")))?;
    command.current_dir(here).stdout(Stdio::piped()).stderr(words);
    Ok(command)
}

impl Running {
    fn start(mut command: Command, name: &str) -> Result<Self, Box<dyn Error>> {
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn().map_err(|error| format!("cannot start {program}: {error}"))?;
        Ok(Self { child, name: name.to_owned() })
    }

    /// Kills it, without a chance to say or save anything.
    pub(crate) fn kill(&mut self) -> Result<(), Box<dyn Error>> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Whether it ends well within a time.
    pub(crate) fn ends_within(&mut self, time: Duration) -> Result<bool, Box<dyn Error>> {
        let began = Instant::now();
        loop {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(true),
                Some(status) => {
                    return Err(format!("{} ended with {status}; its words are in the log", self.name).into());
                }
                None if began.elapsed() >= time => return Ok(false),
                None => std::thread::sleep(LOOK),
            }
        }
    }

    /// Waits until it ends well.
    pub(crate) fn finish(mut self) -> Result<(), Box<dyn Error>> {
        while !self.ends_within(Duration::from_secs(1))? {}
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
