internal import CPython

/// A `LoadedScript` of the module `plugins`.
struct LoadedScript: ~Copyable {
    let tuple: PythonObject

    var stage: PyPointer { rb_tuple_item(tuple.pointer, 0) }
    var result: PyPointer { rb_tuple_item(tuple.pointer, 1) }
    var instance: PyPointer { rb_tuple_item(tuple.pointer, 2) }
    var exception: PyPointer { rb_tuple_item(tuple.pointer, 3) }
}
