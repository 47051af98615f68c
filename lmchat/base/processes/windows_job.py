"""Job objects of Windows, which are there what a process group is elsewhere."""

from __future__ import annotations

import ctypes
import struct
from typing import Any
from weakref import finalize

# terminate, set quota, suspend and resume
_RIGHTS = 0x0001 | 0x0100 | 0x0800
_ACCOUNTING = 1  # class of information with the number of running processes
_ACCOUNTING_FORM = struct.Struct("<4q4L")
_ACTIVE = 6  # its place there


class WindowsJob:
    """A program that was started suspended, and all that it starts."""

    def __init__(self, pid: int) -> None:
        """Put the program into a new job, so that it can start nothing outside, and resume it."""
        self._kernel: Any = ctypes.WinDLL("kernel32")  # type: ignore[attr-defined]
        for name in ("CreateJobObjectW", "OpenProcess"):
            getattr(self._kernel, name).restype = ctypes.c_void_p
        self._handle = ctypes.c_void_p(self._kernel.CreateJobObjectW(None, None))
        finalize(self, self._kernel.CloseHandle, self._handle)
        process = ctypes.c_void_p(self._kernel.OpenProcess(_RIGHTS, 0, pid))
        self._kernel.AssignProcessToJobObject(self._handle, process)
        ctypes.WinDLL("ntdll").NtResumeProcess(process)  # type: ignore[attr-defined]
        self._kernel.CloseHandle(process)

    def end(self) -> None:
        self._kernel.TerminateJobObject(self._handle, 1)

    @property
    def is_running(self) -> bool:
        """Whether a process of the job runs, such as one that the program has left."""
        data = ctypes.create_string_buffer(_ACCOUNTING_FORM.size)
        self._kernel.QueryInformationJobObject(self._handle, _ACCOUNTING, data, len(data), None)
        return bool(_ACCOUNTING_FORM.unpack(data.raw)[_ACTIVE])
