//! A SQLite VFS that wraps the operating system's, and lets an [`Observer`] stand between.
//!
//! Every call on a database, its write-ahead log or its rollback journal passes through the observer, which may record
//! it, fail it, or pretend it. The shared-memory index of the write-ahead log is memory and goes straight
//! through, but for mapping and locking it, which may fail. Memory-mapped reads are off: the wrapped files say
//! that they are of a version without them.
#![expect(unsafe_code, reason = "SQLite's VFS is a C interface")]

mod file;

use std::{
    ffi::{CStr, CString, c_char, c_int, c_void},
    fmt,
    mem::size_of,
    ptr,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use rusqlite::ffi;

use file::ShimFile;

/// A call from SQLite to the operating system.
#[derive(Debug, Clone, Copy)]
pub struct DiskCall<'a> {
    /// The file, as SQLite names it.
    pub path: &'a str,
    /// What is done to it.
    pub action: Action<'a>,
}

/// What is done to a file.
#[derive(Debug, Clone, Copy)]
pub enum Action<'a> {
    /// It is opened.
    Open {
        /// There was no such file.
        creates: bool,
        /// It is a log (write-ahead, or for rolling back) that may be new: the operating system's VFS syncs the
        /// directory along with the first sync.
        syncs_directory: bool,
    },
    /// Bytes are read.
    Read,
    /// Bytes are written.
    Write {
        /// Where.
        offset: u64,
        /// What.
        data: &'a [u8],
    },
    /// Its size is set.
    Truncate {
        /// To this many bytes.
        size: u64,
    },
    /// It is synced.
    Sync,
    /// It is deleted.
    Delete {
        /// The directory is synced too.
        syncs_directory: bool,
    },
    /// A part of the shared-memory index is mapped.
    MapShared,
    /// The shared-memory index is locked.
    LockShared,
}

/// Who stands between SQLite and the operating system.
pub trait Observer: Send + Sync {
    /// Answers a call with a SQLite result code; `perform` does what was asked and answers the real one.
    fn call(&self, call: DiskCall<'_>, perform: &mut dyn FnMut() -> c_int) -> c_int;
}

/// A registered VFS; dropping it removes the name. Connections that are open by then go on, unobserved.
pub struct Shim {
    name: String,
    vfs: *mut ffi::sqlite3_vfs,
    // Keeps the observer, which the leaked VFS only refers to.
    _observer: Arc<dyn Observer>,
}

// SAFETY: the pointer is only used to unregister the VFS, which SQLite does under its own mutex.
unsafe impl Send for Shim {}
// SAFETY: as above; nothing is reachable through a shared reference but the name.
unsafe impl Sync for Shim {}

/// What `pAppData` of the VFS points to.
struct ShimVfs {
    real: *mut ffi::sqlite3_vfs,
    observer: Weak<dyn Observer>,
    _name: CString,
}

static REGISTERED: AtomicU64 = AtomicU64::new(0);

impl Shim {
    /// Registers a VFS under a new name that begins with `prefix`.
    ///
    /// # Panics
    /// If SQLite has no default VFS, or `prefix` contains a zero byte.
    #[must_use]
    pub fn register(prefix: &str, observer: Arc<dyn Observer>) -> Self {
        let name = format!("{prefix}-{}", REGISTERED.fetch_add(1, Ordering::Relaxed));
        let c_name = CString::new(name.clone()).expect("a VFS name has no zero bytes");
        // SAFETY: sqlite3_vfs_find accepts null for the default VFS; what it returns lives for ever.
        let real = unsafe { ffi::sqlite3_vfs_find(ptr::null()) };
        assert!(!real.is_null(), "SQLite has a default VFS on every platform this runs on");
        let z_name = c_name.as_ptr();
        let app_data = Box::new(ShimVfs { real, observer: Arc::downgrade(&observer), _name: c_name });
        // SAFETY: `real` is a valid VFS; a plain C struct may be copied.
        let mut vfs = Box::new(unsafe { ptr::read(real) });
        vfs.iVersion = 2;
        vfs.szOsFile += c_int::try_from(size_of::<ShimFile>()).expect("a few words");
        vfs.pNext = ptr::null_mut();
        vfs.zName = z_name;
        vfs.pAppData = Box::into_raw(app_data).cast();
        vfs.xOpen = Some(open);
        vfs.xDelete = Some(delete);
        vfs.xAccess = Some(access);
        vfs.xFullPathname = Some(full_pathname);
        vfs.xRandomness = Some(randomness);
        vfs.xSleep = Some(sleep);
        vfs.xCurrentTime = Some(current_time);
        vfs.xCurrentTimeInt64 = Some(current_time_int64);
        vfs.xGetLastError = Some(last_error);
        vfs.xDlOpen = None;
        vfs.xDlError = None;
        vfs.xDlSym = None;
        vfs.xDlClose = None;
        // Leaked on purpose: a connection may outlive the registration, and SQLite keeps the pointer.
        let vfs = Box::into_raw(vfs);
        // SAFETY: the struct is complete and never freed.
        let code = unsafe { ffi::sqlite3_vfs_register(vfs, 0) };
        assert_eq!(code, ffi::SQLITE_OK, "registering a VFS only fails without memory");
        Self { name, vfs, _observer: observer }
    }

    /// The name to open files with.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Shim {
    fn drop(&mut self) {
        // SAFETY: it was registered, and its memory stays.
        unsafe { ffi::sqlite3_vfs_unregister(self.vfs) };
    }
}

impl fmt::Debug for Shim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shim").field("name", &self.name).finish_non_exhaustive()
    }
}

impl ShimVfs {
    /// # Safety
    /// `vfs` must be one that [`Shim::register`] made.
    unsafe fn of<'a>(vfs: *mut ffi::sqlite3_vfs) -> &'a Self {
        // SAFETY: `pAppData` was set to a leaked box of this type.
        unsafe { &*(*vfs).pAppData.cast::<Self>() }
    }

    fn observe(&self, call: DiskCall<'_>, perform: &mut dyn FnMut() -> c_int) -> c_int {
        match self.observer.upgrade() {
            Some(observer) => observer.call(call, perform),
            None => perform(),
        }
    }

    /// # Safety
    /// `name` must be a C string.
    unsafe fn exists(&self, name: *const c_char) -> bool {
        let mut found = 0;
        // SAFETY: a method of a valid VFS, called as SQLite calls it.
        let code = unsafe {
            method((*self.real).xAccess)(self.real, name, ffi::SQLITE_ACCESS_EXISTS, &raw mut found)
        };
        code == ffi::SQLITE_OK && found != 0
    }
}

/// A method that the operating system's VFS always has.
fn method<F>(method: Option<F>) -> F {
    method.expect("the wrapped VFS has all methods of its version")
}

unsafe extern "C" fn open(
    vfs: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    // SAFETY: SQLite passes its own VFS, a file of `szOsFile` bytes, and a name that lives until the close.
    unsafe {
        let shim = ShimVfs::of(vfs);
        let real_file = ShimFile::real(file.cast());
        let mut perform = || method((*shim.real).xOpen)(shim.real, name, real_file, flags, out_flags);
        (*file).pMethods = ptr::null();
        let path = if name.is_null() { None } else { CStr::from_ptr(name).to_str().ok() };
        let code = match path {
            None => perform(),
            Some(path) => {
                let may_create = flags & ffi::SQLITE_OPEN_CREATE != 0;
                let creates = may_create && !shim.exists(name);
                let logs = ffi::SQLITE_OPEN_WAL | ffi::SQLITE_OPEN_MAIN_JOURNAL;
                let syncs_directory = may_create && flags & logs != 0;
                shim.observe(
                    DiskCall { path, action: Action::Open { creates, syncs_directory } },
                    &mut perform,
                )
            }
        };
        if code == ffi::SQLITE_OK {
            ShimFile::init(file.cast(), shim, path);
        }
        code
    }
}

unsafe extern "C" fn delete(vfs: *mut ffi::sqlite3_vfs, name: *const c_char, sync_dir: c_int) -> c_int {
    // SAFETY: SQLite passes its own VFS and a C string.
    unsafe {
        let shim = ShimVfs::of(vfs);
        let mut perform = || method((*shim.real).xDelete)(shim.real, name, sync_dir);
        match CStr::from_ptr(name).to_str() {
            Err(_) => perform(),
            Ok(path) => {
                let action = Action::Delete { syncs_directory: sync_dir != 0 };
                shim.observe(DiskCall { path, action }, &mut perform)
            }
        }
    }
}

/// Methods that only hand on to the wrapped VFS, which needs its own pointer as the first argument.
macro_rules! forward {
    ($($name:ident => $method:ident($($arg:ident: $type:ty),*) -> $result:ty;)*) => {$(
        unsafe extern "C" fn $name(vfs: *mut ffi::sqlite3_vfs, $($arg: $type),*) -> $result {
            // SAFETY: the arguments are SQLite's own, handed on unchanged.
            unsafe {
                let shim = ShimVfs::of(vfs);
                method((*shim.real).$method)(shim.real, $($arg),*)
            }
        }
    )*};
}

forward! {
    access => xAccess(name: *const c_char, flags: c_int, found: *mut c_int) -> c_int;
    full_pathname => xFullPathname(name: *const c_char, size: c_int, out: *mut c_char) -> c_int;
    randomness => xRandomness(size: c_int, out: *mut c_char) -> c_int;
    sleep => xSleep(microseconds: c_int) -> c_int;
    current_time => xCurrentTime(out: *mut f64) -> c_int;
    current_time_int64 => xCurrentTimeInt64(out: *mut ffi::sqlite3_int64) -> c_int;
    last_error => xGetLastError(size: c_int, out: *mut c_char) -> c_int;
}

/// What SQLite hands over as a buffer.
///
/// # Safety
/// `data` must point to `size` bytes.
unsafe fn bytes<'a>(data: *const c_void, size: c_int) -> &'a [u8] {
    let size = usize::try_from(size).unwrap_or_default();
    if size == 0 {
        return &[];
    }
    // SAFETY: as the caller promises.
    unsafe { std::slice::from_raw_parts(data.cast(), size) }
}
