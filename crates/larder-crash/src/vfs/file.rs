//! An open file of the shim: a header, and behind it in the same memory the wrapped file.

use std::{
    ffi::{c_int, c_void},
    mem::size_of,
};

use rusqlite::ffi;

use super::{Action, DiskCall, ShimVfs, bytes, method};

/// The header; SQLite allocates it together with the wrapped file.
#[repr(C, align(8))]
pub(super) struct ShimFile {
    base: ffi::sqlite3_file,
    vfs: *const ShimVfs,
    /// A leaked box, freed by the close; null for a temporary file, which is not observed.
    path: *mut String,
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

impl ShimFile {
    /// The wrapped file behind the header.
    ///
    /// # Safety
    /// `this` must have been allocated with the shim's `szOsFile`.
    pub(super) unsafe fn real(this: *mut Self) -> *mut ffi::sqlite3_file {
        // SAFETY: the allocation is `size_of::<Self>()` larger than the wrapped file needs.
        unsafe { this.cast::<u8>().add(size_of::<Self>()).cast() }
    }

    /// Fills in the header of a file that was opened.
    ///
    /// # Safety
    /// As [`real`](Self::real).
    pub(super) unsafe fn init(this: *mut Self, vfs: &ShimVfs, path: Option<&str>) {
        let path = path.map_or(std::ptr::null_mut(), |path| Box::into_raw(Box::new(path.to_owned())));
        // SAFETY: the memory is ours to fill.
        unsafe {
            (&raw mut (*this).vfs).write(vfs);
            (&raw mut (*this).path).write(path);
            (*this).base.pMethods = &raw const METHODS;
        }
    }

    /// Lets the observer see a call.
    ///
    /// # Safety
    /// `this` must be open.
    unsafe fn observe(this: *mut Self, action: Action<'_>, perform: &mut dyn FnMut() -> c_int) -> c_int {
        // SAFETY: an open file has its VFS (which is never freed) and its path.
        unsafe {
            match (*this).path.as_ref() {
                None => perform(),
                Some(path) => (*(*this).vfs).observe(DiskCall { path, action }, perform),
            }
        }
    }
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: SQLite closes an open file once.
    unsafe {
        let this: *mut ShimFile = file.cast();
        let real = ShimFile::real(this);
        let code = method((*(*real).pMethods).xClose)(real);
        if !(*this).path.is_null() {
            drop(Box::from_raw((*this).path));
        }
        (*this).base.pMethods = std::ptr::null();
        code
    }
}

unsafe extern "C" fn read(file: *mut ffi::sqlite3_file, out: *mut c_void, size: c_int, offset: i64) -> c_int {
    // SAFETY: the arguments are SQLite's own.
    unsafe {
        let real = ShimFile::real(file.cast());
        let mut perform = || method((*(*real).pMethods).xRead)(real, out, size, offset);
        ShimFile::observe(file.cast(), Action::Read, &mut perform)
    }
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    data: *const c_void,
    size: c_int,
    offset: i64,
) -> c_int {
    // SAFETY: the arguments are SQLite's own; `data` holds `size` bytes.
    unsafe {
        let real = ShimFile::real(file.cast());
        let mut perform = || method((*(*real).pMethods).xWrite)(real, data, size, offset);
        let action = Action::Write { offset: offset.cast_unsigned(), data: bytes(data, size) };
        ShimFile::observe(file.cast(), action, &mut perform)
    }
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: i64) -> c_int {
    // SAFETY: the arguments are SQLite's own.
    unsafe {
        let real = ShimFile::real(file.cast());
        let mut perform = || method((*(*real).pMethods).xTruncate)(real, size);
        let action = Action::Truncate { size: size.cast_unsigned() };
        ShimFile::observe(file.cast(), action, &mut perform)
    }
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, flags: c_int) -> c_int {
    // SAFETY: the arguments are SQLite's own.
    unsafe {
        let real = ShimFile::real(file.cast());
        let mut perform = || method((*(*real).pMethods).xSync)(real, flags);
        ShimFile::observe(file.cast(), Action::Sync, &mut perform)
    }
}

unsafe extern "C" fn shm_map(
    file: *mut ffi::sqlite3_file,
    region: c_int,
    size: c_int,
    extend: c_int,
    out: *mut *mut c_void,
) -> c_int {
    // SAFETY: the arguments are SQLite's own.
    unsafe {
        let real = ShimFile::real(file.cast());
        let Some(map) = (*(*real).pMethods).xShmMap else { return ffi::SQLITE_IOERR_SHMMAP };
        let mut perform = || map(real, region, size, extend, out);
        ShimFile::observe(file.cast(), Action::MapShared, &mut perform)
    }
}

unsafe extern "C" fn shm_lock(file: *mut ffi::sqlite3_file, offset: c_int, n: c_int, flags: c_int) -> c_int {
    // SAFETY: the arguments are SQLite's own.
    unsafe {
        let real = ShimFile::real(file.cast());
        let Some(lock) = (*(*real).pMethods).xShmLock else { return ffi::SQLITE_IOERR_SHMLOCK };
        let mut perform = || lock(real, offset, n, flags);
        if flags & ffi::SQLITE_SHM_UNLOCK != 0 {
            // An unlock cannot fail: SQLite does not look at its result.
            return perform();
        }
        ShimFile::observe(file.cast(), Action::LockShared, &mut perform)
    }
}

unsafe extern "C" fn shm_barrier(file: *mut ffi::sqlite3_file) {
    // SAFETY: the arguments are SQLite's own.
    unsafe {
        let real = ShimFile::real(file.cast());
        if let Some(barrier) = (*(*real).pMethods).xShmBarrier {
            barrier(real);
        }
    }
}

unsafe extern "C" fn shm_unmap(file: *mut ffi::sqlite3_file, delete: c_int) -> c_int {
    // SAFETY: the arguments are SQLite's own.
    unsafe {
        let real = ShimFile::real(file.cast());
        (*(*real).pMethods).xShmUnmap.map_or(ffi::SQLITE_OK, |unmap| unmap(real, delete))
    }
}

/// Methods that only hand on to the wrapped file.
macro_rules! forward {
    ($($name:ident => $method:ident($($arg:ident: $type:ty),*);)*) => {$(
        unsafe extern "C" fn $name(file: *mut ffi::sqlite3_file, $($arg: $type),*) -> c_int {
            // SAFETY: the arguments are SQLite's own, handed on unchanged.
            unsafe {
                let real = ShimFile::real(file.cast());
                method((*(*real).pMethods).$method)(real, $($arg),*)
            }
        }
    )*};
}

forward! {
    file_size => xFileSize(out: *mut i64);
    lock => xLock(level: c_int);
    unlock => xUnlock(level: c_int);
    check_reserved_lock => xCheckReservedLock(out: *mut c_int);
    file_control => xFileControl(operation: c_int, argument: *mut c_void);
    sector_size => xSectorSize();
    device_characteristics => xDeviceCharacteristics();
}
