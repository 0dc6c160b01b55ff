// What Swift needs of CPython's C API and can't import by itself: macros, variadics, and exception globals. What
// differs between CPython 3.11 and 3.14 is also settled here, so that no Swift file asks for a version.

#ifndef RUNBOOK_CPYTHON_SHIM_H
#define RUNBOOK_CPYTHON_SHIM_H

// Must come first: Python.h sets feature macros that otherwise give fd_set another shape than Foundation's.
#include <features.h>

#define PY_SSIZE_T_CLEAN
#include <Python.h>
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

// Whether a pending SetAsyncExc was aimed at this thread: the number of thread states that were changed.
static inline int rb_clear_injected_exception(unsigned long thread) { return PyThreadState_SetAsyncExc(thread, NULL); }

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

// Initialises the one interpreter of this process and takes the GIL. Returns 0, or -1 with a reason in `error`.
//
// Isolated: no environment variables, no user site, nothing of the working directory. `prefix` and `paths` are set
// because Python otherwise looks for pyvenv.cfg and its landmarks around our own executable.
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
    if (!PyStatus_Exception(status)) status = rb_set_string(&config, &config.program_name, "runbook-agent");
    if (!PyStatus_Exception(status)) status = rb_set_string(&config, &config.executable, executable);
    if (!PyStatus_Exception(status)) status = rb_set_string(&config, &config.base_executable, executable);
    if (prefix != NULL) {
        if (!PyStatus_Exception(status)) status = rb_set_string(&config, &config.home, prefix);
        if (!PyStatus_Exception(status)) status = rb_set_string(&config, &config.prefix, prefix);
        if (!PyStatus_Exception(status)) status = rb_set_string(&config, &config.exec_prefix, prefix);
        if (!PyStatus_Exception(status)) status = rb_set_string(&config, &config.base_prefix, prefix);
        if (!PyStatus_Exception(status)) status = rb_set_string(&config, &config.base_exec_prefix, prefix);
        config.module_search_paths_set = 1;
        for (size_t index = 0; index < path_count && !PyStatus_Exception(status); index++) {
            wchar_t *path = Py_DecodeLocale(paths[index], NULL);
            if (path == NULL) {
                status = PyStatus_NoMemory();
            } else {
                status = PyWideStringList_Append(&config.module_search_paths, path);
                PyMem_RawFree(path);
            }
        }
    }
    if (!PyStatus_Exception(status)) status = Py_InitializeFromConfig(&config);
    PyConfig_Clear(&config);
    if (PyStatus_Exception(status)) {
        const char *reason = status.err_msg != NULL ? status.err_msg : "unknown reason";
        strncpy(error, reason, error_size - 1);
        error[error_size - 1] = '\0';
        return -1;
    }
    return 0;
}

#endif
