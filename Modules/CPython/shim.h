// What Swift needs of CPython's C API and can't import by itself: macros, variadics, and exception globals. What
// differs between CPython 3.11 and 3.14 is also settled here, so that no Swift file asks for a version.

#ifndef RUNBOOK_CPYTHON_SHIM_H
#define RUNBOOK_CPYTHON_SHIM_H

// Must come first: Python.h sets feature macros that otherwise give fd_set another shape than Foundation's.
#include <features.h>

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <locale.h>
#include <signal.h>
#include <string.h>

#if PY_VERSION_HEX < 0x030B0000
#error "CPython 3.11 or newer is needed: install libpython3-dev of Debian 12 or newer"
#endif

static inline PyObject *rb_none(void) { return Py_None; }
static inline PyObject *rb_true(void) { return Py_True; }
static inline int rb_is_none(PyObject *object) { return object == Py_None; }
static inline void rb_incref(PyObject *object) { Py_INCREF(object); }
static inline void rb_decref(PyObject *object) { Py_DECREF(object); }
static inline int rb_is_str(PyObject *object) { return PyUnicode_Check(object); }
static inline int rb_is_ascii(PyObject *text) { return PyUnicode_IS_ASCII(text); }
static inline int rb_is_exact_int(PyObject *object) { return PyLong_CheckExact(object); }
static inline int rb_is_dict(PyObject *object) { return PyDict_Check(object); }
static inline int rb_is_tuple(PyObject *object) { return PyTuple_Check(object); }
static inline int rb_is_bytes(PyObject *object) { return PyBytes_Check(object); }

// The item is borrowed.
static inline PyObject *rb_tuple_item(PyObject *tuple, Py_ssize_t index) { return PyTuple_GET_ITEM(tuple, index); }

static inline PyObject *rb_exc_type_error(void) { return PyExc_TypeError; }
static inline PyObject *rb_exc_attribute_error(void) { return PyExc_AttributeError; }
static inline PyObject *rb_exc_system_exit(void) { return PyExc_SystemExit; }
static inline PyObject *rb_exc_stop_iteration(void) { return PyExc_StopIteration; }

static inline const char *rb_type_name(PyObject *object) { return Py_TYPE(object)->tp_name; }

// The exception being raised, normalised and cleared; a new reference, or NULL where there is none.
static inline PyObject *rb_take_exception(void) {
#if PY_VERSION_HEX >= 0x030C0000
    return PyErr_GetRaisedException();
#else
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (type == NULL) return NULL;
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback != NULL) {
        PyException_SetTraceback(value, traceback);
        Py_DECREF(traceback);
    }
    Py_DECREF(type);
    return value;
#endif
}

static inline void rb_set_error(PyObject *type, const char *message) { PyErr_SetString(type, message); }

// Takes away an exception that was injected into a thread and not raised yet. Not by PyThreadState_SetAsyncExc, which
// looks for the thread's number: see `rb_has_twin`.
static inline void rb_clear_injected_exception(PyThreadState *state) { Py_CLEAR(state->async_exc); }

// Whether another thread state has the same number. One that a thread has just made for a thread it starts has its
// maker's until it runs, and PyThreadState_SetAsyncExc would take it for its maker.
static inline int rb_has_twin(PyThreadState *state) {
    PyInterpreterState *interpreter = PyThreadState_GetInterpreter(state);
    for (PyThreadState *other = PyInterpreterState_ThreadHead(interpreter); other != NULL; other = PyThreadState_Next(other))
        if (other != state && other->thread_id == state->thread_id) return 1;
    return 0;
}

static inline unsigned long rb_thread_id(PyThreadState *state) { return state->thread_id; }

static inline PyObject *rb_call_two(PyObject *callable, PyObject *first, PyObject *second) {
    PyObject *arguments[] = {NULL, first, second};
    return PyObject_Vectorcall(callable, arguments + 1, 2 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
}

// The signature of a method taken as METH_FASTCALL, which PyCFunction isn't.
typedef PyObject *(*rb_fastcall)(PyObject *self, PyObject *const *arguments, Py_ssize_t count);

// A builtin function. `name` must live as long as the process.
static inline PyObject *rb_make_function(const char *name, rb_fastcall function) {
    PyMethodDef *definition = (PyMethodDef *)PyMem_RawCalloc(1, sizeof(PyMethodDef));
    if (definition == NULL) return PyErr_NoMemory();
    definition->ml_name = name;
    definition->ml_meth = (PyCFunction)(void (*)(void))function;
    definition->ml_flags = METH_FASTCALL;
    return PyCFunction_NewEx(definition, NULL, NULL);
}

// MARK: What is bound to a thread

// Whether an exception that is injected into a thread now could be raised in another thread, or in a function that must
// not be interrupted, which the thread's innermost Python function tells. `functions` maps the file of a function's code to
// a set of names, or to None for all.
//
// The thread doesn't run while the caller holds the GIL. It raises the exception where it waits for the GIL, which is in
// this function, or when the C code that this function has called returns; if that C code calls a Python function first,
// at the very start of that one, when nothing has been done in it. So the answer holds until the GIL is let go.
static inline int rb_must_not_interrupt(PyThreadState *state, PyObject *functions) {
    if (rb_has_twin(state)) return 1;
    PyFrameObject *frame = PyThreadState_GetFrame(state);
    if (frame == NULL) return 0;
    PyCodeObject *code = PyFrame_GetCode(frame);
    Py_DECREF(frame);
    PyObject *names = PyDict_GetItemWithError(functions, code->co_filename);
    int answer = 0;
    if (names != NULL) answer = names == Py_None ? 1 : PySet_Contains(names, code->co_name) == 1;
    Py_DECREF(code);
    PyErr_Clear();
    return answer;
}

// Ends what sys.settrace() and sys.setprofile() began on the current thread.
static inline void rb_end_tracing(PyThreadState *state) {
    if (state->c_tracefunc != NULL) PyEval_SetTrace(NULL, NULL);
    if (state->c_profilefunc != NULL) PyEval_SetProfile(NULL, NULL);
}

// Gives the current thread the locale of the process again (uselocale(3)).
static inline void rb_use_global_locale(void) {
    if (uselocale((locale_t)0) != LC_GLOBAL_LOCALE) uselocale(LC_GLOBAL_LOCALE);
}

static inline int rb_first_real_time_signal(void) { return SIGRTMIN; }
static inline int rb_last_real_time_signal(void) { return SIGRTMAX; }

static inline void rb_do_nothing(int number) { (void)number; }

// Catches a signal that would otherwise end the process. A handler, because what a plugin starts would inherit that a
// signal is ignored; a handler that somebody else installed stays.
static inline void rb_survive_signal(int number) {
    struct sigaction action;
    if (sigaction(number, NULL, &action) != 0 || (action.sa_flags & SA_SIGINFO) != 0 || action.sa_handler != SIG_DFL)
        return;
    action.sa_handler = rb_do_nothing;
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    sigaction(number, &action, NULL);
}

// MARK: How long a result is

// The bytes of UTF-8 of a text, one for each half of a surrogate pair; stops counting past `limit`.
static inline Py_ssize_t rb_utf8_size(PyObject *text, Py_ssize_t limit) {
    Py_ssize_t length = PyUnicode_GET_LENGTH(text), size = 0;
    if (PyUnicode_IS_ASCII(text)) return length;
    int kind = PyUnicode_KIND(text);
    const void *data = PyUnicode_DATA(text);
    for (Py_ssize_t index = 0; index < length && size <= limit; index++) {
        Py_UCS4 character = PyUnicode_READ(kind, data, index);
        if (character < 0x80 || (character >= 0xD800 && character < 0xE000)) size += 1;
        else size += character < 0x800 ? 2 : character < 0x10000 ? 3 : 4;
    }
    return size;
}

// The bytes of a text as JSON with everything beyond ASCII escaped, quotes included; stops counting past `limit`.
static inline Py_ssize_t rb_json_text_size(PyObject *text, Py_ssize_t limit) {
    Py_ssize_t length = PyUnicode_GET_LENGTH(text), size = 2;
    if (length > limit) return length;
    int kind = PyUnicode_KIND(text);
    const void *data = PyUnicode_DATA(text);
    for (Py_ssize_t index = 0; index < length && size <= limit; index++) {
        Py_UCS4 character = PyUnicode_READ(kind, data, index);
        if (character >= 0x20 && character < 0x7F) size += character == '"' || character == '\\' ? 2 : 1;
        else if (character >= '\b' && character <= '\r' && character != '\v') size += 2;
        else size += character < 0x10000 ? 6 : 12;
    }
    return size;
}

static inline Py_ssize_t rb_json_number_size(PyObject *value, int exact) {
    if (PyFloat_Check(value)) {
        if (!exact) return 24;
        char *text = PyOS_double_to_string(PyFloat_AS_DOUBLE(value), 'r', 0, Py_DTSF_ADD_DOT_0, NULL);
        if (text == NULL) return PyErr_Clear(), 24;
        Py_ssize_t size = (Py_ssize_t)strlen(text);
        PyMem_Free(text);
        return size;
    }
    int overflow = 0;
    long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
    // A decimal digit is more than 3.3 bits.
    if (overflow != 0) {
        PyObject *bits = PyObject_CallMethod((PyObject *)&PyLong_Type, "bit_length", "O", value);
        Py_ssize_t count = bits != NULL ? PyLong_AsSsize_t(bits) : 0;
        Py_XDECREF(bits);
        PyErr_Clear();
        return count / 10 * 3 + 2;
    }
    if (!exact) return 20;
    Py_ssize_t size = number < 0 ? 2 : 1;
    for (; number > 9 || number < -9; number /= 10) size += 1;
    return size;
}

enum { RB_JSON_TOO_LONG = 0, RB_JSON_FITS = 1, RB_JSON_TOO_DEEP = 2 };

static inline int rb_json_measure(PyObject *value, Py_ssize_t *room, int exact, int depth);

// A key of a dictionary. Other types are refused when it is written.
static inline void rb_json_measure_key(PyObject *key, Py_ssize_t *room, int exact) {
    if (PyUnicode_Check(key)) {
        *room -= exact ? rb_json_text_size(key, *room) : 6 * PyUnicode_GET_LENGTH(key) + 2;
    } else if (PyLong_Check(key) || PyFloat_Check(key)) {
        *room -= rb_json_number_size(key, exact) + 2;
    } else {
        *room -= 6;
    }
}

static inline int rb_json_measure_items(PyObject *value, Py_ssize_t *room, int exact, int depth) {
    if (depth == 0) return RB_JSON_TOO_DEEP;
    if (PyDict_Check(value)) {
        Py_ssize_t position = 0;
        PyObject *key, *item;
        while (PyDict_Next(value, &position, &key, &item)) {
            *room -= 4;
            rb_json_measure_key(key, room, exact);
            int answer = *room < 0 ? RB_JSON_TOO_LONG : rb_json_measure(item, room, exact, depth - 1);
            if (answer != RB_JSON_FITS) return answer;
        }
        return RB_JSON_FITS;
    }
    Py_ssize_t count = PySequence_Fast_GET_SIZE(value);
    PyObject **items = PySequence_Fast_ITEMS(value);
    for (Py_ssize_t index = 0; index < count; index++) {
        *room -= 2;
        int answer = rb_json_measure(items[index], room, exact, depth - 1);
        if (answer != RB_JSON_FITS) return answer;
    }
    return RB_JSON_FITS;
}

// Takes from `room` what a value's JSON needs: `exact`, or an upper bound in much less time. What json leaves to
// `default` needs nothing here: it is measured when it has been made into something else. Runs no Python code.
static inline int rb_json_measure(PyObject *value, Py_ssize_t *room, int exact, int depth) {
    if (PyUnicode_Check(value)) {
        *room -= exact ? rb_json_text_size(value, *room) : 6 * PyUnicode_GET_LENGTH(value) + 2;
    } else if (value == Py_None || PyBool_Check(value)) {
        *room -= value == Py_False ? 5 : 4;
    } else if (PyLong_Check(value) || PyFloat_Check(value)) {
        *room -= rb_json_number_size(value, exact);
    } else if (PyList_Check(value) || PyTuple_Check(value) || PyDict_Check(value)) {
        // The brackets, without the comma that the last item has none of.
        int is_empty = PyDict_Check(value) ? PyDict_GET_SIZE(value) == 0 : PySequence_Fast_GET_SIZE(value) == 0;
        *room -= is_empty ? 2 : 0;
        int answer = rb_json_measure_items(value, room, exact, depth);
        if (answer != RB_JSON_FITS) return answer;
    }
    return *room < 0 ? RB_JSON_TOO_LONG : RB_JSON_FITS;
}

// What of `room` bytes is left when a value's JSON has been written, less than 0 where it needs more. What is nested so
// deep that json refuses it needs nothing: json refuses it before it has written more than was measured.
static inline Py_ssize_t rb_json_room(PyObject *value, Py_ssize_t room, int exact) {
    int answer = rb_json_measure(value, &room, exact, 2000);
    if (answer == RB_JSON_TOO_DEEP) return 0;
    return answer == RB_JSON_FITS ? room : -1;
}

static inline PyStatus rb_set_string(PyConfig *config, wchar_t **field, const char *value) {
    return PyConfig_SetBytesString(config, field, value);
}

// What dladdr(3) gives, declared here under names of our own because <dlfcn.h> shows it only with _GNU_SOURCE, which
// must not be set before <features.h>.
typedef struct {
    const char *file_name;
    void *base;
    const char *symbol_name;
    void *symbol;
} rb_symbol_info;
extern int rb_dladdr(const void *address, rb_symbol_info *info) __asm__("dladdr");

// The file of the libpython that was loaded, or of the executable where it is linked in; NULL if unknown.
static inline const char *rb_library_file(void) {
    rb_symbol_info info;
    return rb_dladdr((const void *)&Py_InitializeFromConfig, &info) != 0 ? info.file_name : NULL;
}

// Where Python is, in a configuration. `prefix` and `paths` are set because Python otherwise looks for pyvenv.cfg and its
// landmarks around our own executable.
static inline PyStatus rb_set_paths(PyConfig *config, const char *executable, const char *prefix,
                                    const char *const *paths, size_t path_count) {
    PyStatus status = rb_set_string(config, &config->program_name, "runbook-agent");
    if (!PyStatus_Exception(status)) status = rb_set_string(config, &config->executable, executable);
    if (!PyStatus_Exception(status)) status = rb_set_string(config, &config->base_executable, executable);
    if (prefix == NULL) return status;
    if (!PyStatus_Exception(status)) status = rb_set_string(config, &config->home, prefix);
    if (!PyStatus_Exception(status)) status = rb_set_string(config, &config->prefix, prefix);
    if (!PyStatus_Exception(status)) status = rb_set_string(config, &config->exec_prefix, prefix);
    if (!PyStatus_Exception(status)) status = rb_set_string(config, &config->base_prefix, prefix);
    if (!PyStatus_Exception(status)) status = rb_set_string(config, &config->base_exec_prefix, prefix);
    config->module_search_paths_set = 1;
    for (size_t index = 0; index < path_count && !PyStatus_Exception(status); index++) {
        wchar_t *path = Py_DecodeLocale(paths[index], NULL);
        if (path == NULL) {
            status = PyStatus_NoMemory();
        } else {
            status = PyWideStringList_Append(&config->module_search_paths, path);
            PyMem_RawFree(path);
        }
    }
    return status;
}

static inline void rb_say_failure(PyStatus status, char *error, size_t error_size) {
    const char *reason = status.err_msg != NULL ? status.err_msg : "unknown reason";
    strncpy(error, reason, error_size - 1);
    error[error_size - 1] = '\0';
}

// Initialises the one interpreter of this process and takes the GIL. Returns 0, or -1 with a reason in `error`.
//
// Isolated: no environment variables, no user site, nothing of the working directory.
static inline int rb_initialize(const char *executable, const char *prefix, const char *const *paths,
                                size_t path_count, char *error, size_t error_size) {
    PyPreConfig preconfig;
    PyPreConfig_InitIsolatedConfig(&preconfig);
    preconfig.utf8_mode = 1;
    PyStatus status = Py_PreInitialize(&preconfig);

    PyConfig config;
    PyConfig_InitIsolatedConfig(&config);
    config.install_signal_handlers = 0;
    config.write_bytecode = 0;
    config.parse_argv = 0;
    config.site_import = 1;
    config.buffered_stdio = 0;
    config.faulthandler = 1;
    if (!PyStatus_Exception(status)) status = rb_set_paths(&config, executable, prefix, paths, path_count);
    if (!PyStatus_Exception(status)) status = Py_InitializeFromConfig(&config);
    PyConfig_Clear(&config);
    if (!PyStatus_Exception(status)) return 0;
    rb_say_failure(status, error, error_size);
    return -1;
}

// Does what `python3` does with these arguments (Py_BytesMain), with the standard library of the libpython that was
// loaded. Returns the exit status; where Python could not start, with a reason in `error`.
static inline int rb_run_program(Py_ssize_t count, const void *given, const char *executable, const char *prefix,
                                 const char *const *paths, size_t path_count, char *error, size_t error_size) {
    char **arguments = (char **)given;
    PyPreConfig preconfig;
    PyPreConfig_InitPythonConfig(&preconfig);
    PyStatus status = Py_PreInitializeFromBytesArgs(&preconfig, count, arguments);

    PyConfig config;
    PyConfig_InitPythonConfig(&config);
    if (!PyStatus_Exception(status)) status = PyConfig_SetBytesArgv(&config, count, arguments);
    if (!PyStatus_Exception(status)) status = rb_set_paths(&config, executable, prefix, paths, path_count);
    if (!PyStatus_Exception(status)) status = Py_InitializeFromConfig(&config);
    PyConfig_Clear(&config);
    if (PyStatus_IsExit(status)) return status.exitcode;
    if (!PyStatus_Exception(status)) return Py_RunMain();
    rb_say_failure(status, error, error_size);
    return 1;
}

#endif
