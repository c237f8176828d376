"""A stand-in for a system that is not POSIX: run as a script, it runs another one.

    python without_posix.py SCRIPT.py ARGS

What Windows lacks of os, signal and the standard library is taken away; folders cannot
be opened there, nor files that are open be replaced or deleted.  The interpreter stays
what it is, so that modules of its own that have a part for Windows, and NumPy, which is
built for Linux, are imported before.
"""
import builtins
import os
import runpy
import signal
import sys

MODULES = ('fcntl', 'resource', 'pwd', 'grp', 'termios', 'tty', 'pty', 'syslog',
           'readline', 'curses', 'crypt', 'spwd', 'nis')

OS = '''
    chown chroot confstr copy_file_range ctermid eventfd fchdir fchmod fchown fdatasync
    fork forkpty fpathconf fstatvfs getegid geteuid getgid getgrouplist getgroups
    getloadavg getpgid getpgrp getpriority getresgid getresuid getsid getuid getxattr
    initgroups killpg lchown listxattr lockf login_tty major makedev memfd_create minor
    mkfifo mknod nice openpty pathconf pidfd_open pipe2 posix_fadvise posix_fallocate
    posix_openpt posix_spawn posix_spawnp pread preadv pwrite pwritev readv
    register_at_fork removexattr sched_getaffinity sched_setaffinity sched_getparam
    sched_getscheduler sched_yield sendfile setegid seteuid setgid setgroups setpgid
    setpriority setsid setuid setxattr splice statvfs sync sysconf tcgetpgrp ttyname
    umount uname unshare wait wait3 wait4 waitid writev O_ASYNC O_CLOEXEC O_DIRECT
    O_DIRECTORY O_DSYNC O_NDELAY O_NOATIME O_NOCTTY O_NOFOLLOW O_NONBLOCK O_PATH O_SYNC
    O_TMPFILE WEXITSTATUS WIFEXITED WIFSIGNALED WIFSTOPPED WNOHANG WTERMSIG
'''.split()

SIGNAL = '''
    SIGALRM SIGBUS SIGCHLD SIGCONT SIGHUP SIGIO SIGIOT SIGKILL SIGPIPE SIGPOLL SIGPROF
    SIGPWR SIGQUIT SIGRTMAX SIGRTMIN SIGSTKFLT SIGSTOP SIGSYS SIGTRAP SIGTSTP SIGTTIN
    SIGTTOU SIGURG SIGUSR1 SIGUSR2 SIGVTALRM SIGWINCH SIGXCPU SIGXFSZ ITIMER_PROF
    ITIMER_REAL ITIMER_VIRTUAL alarm getitimer setitimer pause pthread_kill
    pthread_sigmask siginterrupt sigpending sigtimedwait sigwait sigwaitinfo
'''.split()


def take_away():
    import multiprocessing.context  # noqa: F401
    import pathlib  # noqa: F401; until 3.9 it keeps os.open as a method
    import subprocess  # noqa: F401
    import numpy  # noqa: F401
    for name in MODULES:
        sys.modules[name] = None
    for module, names in (os, OS), (signal, SIGNAL):
        for name in names:
            if hasattr(module, name):
                delattr(module, name)
    os.open = _no_folders(os.open)
    builtins.open = _no_proc(builtins.open)
    for name in 'replace', 'rename', 'unlink', 'remove':
        setattr(os, name, _no_open_files(getattr(os, name)))


def _no_folders(real):
    def open(path, flags, *args, **kwargs):
        if os.path.isdir(path):
            raise PermissionError(13, 'Permission denied', path)
        return real(path, flags, *args, **kwargs)
    return open


def _no_proc(real):
    def open(file, *args, **kwargs):
        if str(file).startswith('/proc'):
            raise FileNotFoundError(2, 'No such file or directory', file)
        return real(file, *args, **kwargs)
    return open


def _no_open_files(real):
    def call(*paths, **kwargs):
        for path in map(os.path.realpath, paths):
            if os.path.exists(path) and path in _open_files():
                raise PermissionError(13, 'The process cannot access the file', path)
        return real(*paths, **kwargs)
    return call


def _open_files():
    try:
        handles = os.listdir('/proc/self/fd')
    except OSError:  # not Linux: not to be known
        return set()
    found = set()
    for handle in handles:
        try:
            found.add(os.readlink(f'/proc/self/fd/{handle}'))
        except OSError:
            pass
    return found


if __name__ == '__main__':
    take_away()
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name='__main__')
