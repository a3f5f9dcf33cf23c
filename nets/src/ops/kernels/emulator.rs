//! The kernels on a CPU: compiled by the C compiler of the machine that tests, run a thread at a time.

mod tests;

use super::{Arguments, Launch};
use anyhow::{Context, Result, ensure};
use std::ffi::{CString, c_char, c_int, c_void};
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};

/// The kernels in a shared library. One at a time runs: the emulator's threads are its statics.
pub(super) struct Emulator {
    library: Mutex<Library>,
}

struct Library(*mut c_void);

// SAFETY: a handle of the dynamic linker, which may be used from any thread.
unsafe impl Send for Library {}

type Kernel = unsafe extern "C" fn(Arguments);
type Emulate = unsafe extern "C" fn(Kernel, *const Arguments, *const u32, *const u32) -> c_int;

unsafe extern "C" {
    fn dlopen(path: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
}

/// Resolve every name at once.
const RTLD_NOW: c_int = 2;

impl Emulator {
    /// The emulator, or `None` where there is no C compiler to make it.
    pub(super) fn get() -> Option<&'static Self> {
        static EMULATOR: OnceLock<Option<Emulator>> = OnceLock::new();
        let made = EMULATOR.get_or_init(|| {
            let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
            if Command::new(&compiler).arg("--version").output().is_err() {
                println!("skipped: there is no C compiler to emulate the kernels with");
                return None;
            }
            Some(Self::make(compiler.as_ref()).expect("the kernels compile as C"))
        });
        made.as_ref()
    }

    fn make(compiler: &Path) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let library = folder.path().join("kernels.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ops/kernels/source/emulator.c");
        let output = Command::new(compiler)
            .args(["-std=gnu11", "-O1", "-shared", "-fPIC", "-o"])
            .args([&library, &source])
            .arg("-lm")
            .output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let path = CString::new(library.to_str().context("expected a path of UTF-8")?)?;
        // SAFETY: the library was made just now and has no constructors. It stays loaded.
        let handle = unsafe { dlopen(path.as_ptr(), RTLD_NOW) };
        ensure!(!handle.is_null(), "cannot load {}", library.display());
        Ok(Self { library: Mutex::new(Library(handle)) })
    }

    /// Runs a launch for a number type, `f32` and the like, on buffers at these addresses.
    pub(super) fn run(&self, launch: &Launch, number: &str, buffers: &[u64]) -> Result<()> {
        if launch.is_empty() {
            return Ok(());
        }
        let library = self.library.lock().unwrap_or_else(PoisonError::into_inner);
        let find = |name: String| -> Result<*mut c_void> {
            let spelled = CString::new(name.as_str())?;
            // SAFETY: the library is loaded and the name ends in a zero.
            let found = unsafe { dlsym(library.0, spelled.as_ptr()) };
            ensure!(!found.is_null(), "no kernel `{name}`");
            Ok(found)
        };
        let launch = launch.on(buffers);
        let kernel = find(format!("{}_{number}", launch.kernel))?;
        let emulate = find("emulate".to_owned())?;
        let arguments = launch.arguments(buffers);
        // SAFETY: the library declares these signatures; the callers' buffers have the launch's sizes.
        let ended = unsafe {
            let kernel = std::mem::transmute::<*mut c_void, Kernel>(kernel);
            let emulate = std::mem::transmute::<*mut c_void, Emulate>(emulate);
            emulate(kernel, &arguments, launch.grid.as_ptr(), launch.block.as_ptr())
        };
        ensure!(ended == 0, "no memory for the threads of `{}`", launch.kernel);
        Ok(())
    }
}
