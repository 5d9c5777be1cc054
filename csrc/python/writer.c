/* SPDX-License-Identifier: BSD-3-Clause */
/* writer: the calls that count from Python, as the type netlog._writer.LaneWriter.
 *
 * Everything else goes through cffi. For these few calls cffi would take longer than the core: it
 * cannot take a buffer and a lock without several calls of Python. This type uses CPython's stable
 * ABI, so that one wheel serves every version.
 *
 * Meter inherits from it. The lane is taken late, by the method _open_lane() of the heir, because a
 * meter that only polls needs none.
 *
 * Threads: any. `counting` admits one thread at a time to the lane, and no Python code runs while
 * it is held: a signal handler or a finalizer may count, too. Buffers are taken before it and
 * returned after it.
 */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>

#include <pthread.h>
#include <string.h>

#include "base/compiler.h"
#include "netlog.h"
#include "python/span.h"

/* Up to this many packets are counted without releasing the interpreter lock, which takes as long
 * as counting several packets. */
#define BRIEF_PACKETS 256
/* Descriptors on the stack. Longer batches allocate them. */
#define STACK_PACKETS 64

struct writer {
	PyObject ob_base;
	struct netlog_lane *lane; /* NULL: none yet, or none any more; only with `counting` */
	pthread_mutex_t counting;
};

static void lock(struct writer *writer)
{
	if (likely(pthread_mutex_trylock(&writer->counting) == 0))
		return;
	Py_BEGIN_ALLOW_THREADS pthread_mutex_lock(&writer->counting);
	Py_END_ALLOW_THREADS
}

static void unlock(struct writer *writer)
{
	pthread_mutex_unlock(&writer->counting);
}

/* Locks the lane, and takes one if there is none yet. Returns false with an exception. */
static bool begin(struct writer *writer)
{
	for (;;) {
		lock(writer);
		if (likely(writer->lane != NULL))
			return true;
		unlock(writer);

		PyObject *done = PyObject_CallMethod(&writer->ob_base, "_open_lane", NULL);

		if (!done)
			return false;
		Py_DECREF(done);
	}
}

/* -- buffers ---------------------------------------------------------------------------------- */

/* A view has an owner exactly while it must be released. */
static void release(Py_buffer *views, Py_ssize_t n)
{
	for (Py_ssize_t i = 0; i < n; i++)
		if (views[i].obj)
			PyBuffer_Release(&views[i]);
}

static bool lend(PyObject *object, Py_buffer *view)
{
	if (likely(PyObject_GetBuffer(object, view, PyBUF_SIMPLE) == 0))
		return true;
	view->obj = NULL;
	if (PyErr_ExceptionMatches(PyExc_BufferError))
		PyErr_SetString(PyExc_ValueError, "expected contiguous bytes");
	return false;
}

/* Describes the packet in a bytes-like object. The caller keeps the object, and releases the view
 * if it has an owner. */
static bool describe(PyObject *object, struct netlog_packet *packet, Py_buffer *view)
{
	Py_ssize_t length;

	view->obj = NULL;
	if (likely(PyBytes_Check(object))) {
		packet->data = (const uint8_t *)PyBytes_AsString(object);
		length = PyBytes_Size(object);
	} else {
		if (!lend(object, view))
			return false;
		packet->data = view->buf;
		length = view->len;
	}
	if (unlikely((uint64_t)length > UINT32_MAX)) {
		release(view, 1);
		PyErr_Format(PyExc_ValueError, "expected a packet, got %zd bytes", length);
		return false;
	}
	packet->length = (uint32_t)length;
	return true;
}

/* -- one packet ------------------------------------------------------------------------------- */

/* Returns the only argument, which may be named "packet"; borrowed. */
static PyObject *only_argument(const char *method, PyObject *const *args, Py_ssize_t positional,
			       PyObject *names)
{
	Py_ssize_t named = names ? PyTuple_Size(names) : 0;

	if (unlikely(positional + named != 1)) {
		PyErr_Format(PyExc_TypeError, "%s() takes exactly one argument (%zd given)", method,
			     positional + named);
		return NULL;
	}
	if (named && PyUnicode_CompareWithASCIIString(PyTuple_GetItem(names, 0), "packet") != 0) {
		PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument '%U'",
			     method, PyTuple_GetItem(names, 0));
		return NULL;
	}
	return args[0];
}

static PyObject *count_one(struct writer *writer, PyObject *object, uint8_t direction)
{
	struct netlog_packet packet = {.direction = direction};
	Py_buffer view;

	if (unlikely(!object || !describe(object, &packet, &view)))
		return NULL;

	bool begun = begin(writer);

	if (likely(begun)) {
		netlog_lane_count_bracket(writer->lane, &packet, 1, NULL, 0);
		unlock(writer);
	}
	release(&view, 1);
	return begun ? Py_NewRef(Py_None) : NULL;
}

static PyObject *update_tx(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
	return count_one((struct writer *)self, only_argument("update_tx", args, n, names),
			 NETLOG_TX);
}

static PyObject *update_rx(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
	return count_one((struct writer *)self, only_argument("update_rx", args, n, names),
			 NETLOG_RX);
}

/* -- many packets ----------------------------------------------------------------------------- */

static void count_many(struct netlog_lane *lane, const struct netlog_packet *packets, Py_ssize_t n)
{
	if (n <= BRIEF_PACKETS) {
		netlog_lane_count_bracket(lane, packets, (size_t)n, NULL, 0);
		return;
	}
	Py_BEGIN_ALLOW_THREADS netlog_lane_count_bracket(lane, packets, (size_t)n, NULL, 0);
	Py_END_ALLOW_THREADS
}

/* Describes all packets. `views` is for those that are not bytes. */
static bool describe_all(PyObject *objects, Py_ssize_t n, uint8_t direction,
			 struct netlog_packet *packets, Py_buffer *views)
{
	for (Py_ssize_t i = 0; i < n; i++) {
		packets[i] = (struct netlog_packet){.direction = direction};
		if (unlikely(!describe(PyTuple_GetItem(objects, i), &packets[i], &views[i]))) {
			release(views, i);
			return false;
		}
	}
	return true;
}

static bool count_all(struct writer *writer, PyObject *objects, Py_ssize_t n, uint8_t direction,
		      struct netlog_packet *packets, Py_buffer *views)
{
	if (!describe_all(objects, n, direction, packets, views))
		return false;

	bool begun = begin(writer);

	if (likely(begun)) {
		count_many(writer->lane, packets, n);
		unlock(writer);
	}
	release(views, n);
	return begun;
}

static PyObject *count_packets(PyObject *self, PyObject *const *args, Py_ssize_t n_args)
{
	struct netlog_packet stack_packets[STACK_PACKETS], *packets = stack_packets;
	Py_buffer stack_views[STACK_PACKETS], *views = stack_views;

	if (n_args != 2 || !PyBool_Check(args[1])) {
		PyErr_SetString(PyExc_TypeError, "rx: expected a bool");
		return NULL;
	}

	/* A tuple of our own keeps every packet, whatever happens to the caller's sequence. */
	PyObject *objects = PySequence_Tuple(args[0]);

	if (!objects)
		return NULL;

	Py_ssize_t n = PyTuple_Size(objects);
	uint8_t direction = args[1] == Py_True ? NETLOG_RX : NETLOG_TX;
	bool counted = false;

	if (n > STACK_PACKETS) {
		packets = PyMem_Calloc((size_t)n, sizeof(*packets));
		views = PyMem_Calloc((size_t)n, sizeof(*views));
	}
	if (packets && views)
		counted = count_all((struct writer *)self, objects, n, direction, packets, views);
	else
		PyErr_NoMemory();
	if (n > STACK_PACKETS) {
		PyMem_Free(packets);
		PyMem_Free(views);
	}
	Py_DECREF(objects);
	return counted ? Py_NewRef(Py_None) : NULL;
}

/* -- arrays ----------------------------------------------------------------------------------- */

/* Returns the kind of the integers that a buffer's format describes, or -1. */
static int words_kind(const Py_buffer *view)
{
	const char *format = view->format ? view->format : "B";

	if (format[0] == '@' || format[0] == '=')
		format++;
	if (view->ndim != 1 || !format[0] || format[1])
		return -1;
	if (view->itemsize == 8 && strchr("LQNlqn", format[0]))
		return NETLOG_WORDS_64;
	if (view->itemsize == 4 && strchr("ILil", format[0]))
		return format[0] == 'I' || format[0] == 'L' ? NETLOG_WORDS_U32 : NETLOG_WORDS_I32;
	return -1;
}

/* Takes an array as it is. Returns false without an exception if it would have to be converted. */
static bool take(PyObject *object, Py_buffer *view)
{
	if (PyObject_GetBuffer(object, view, PyBUF_ND | PyBUF_FORMAT) == 0)
		return true;
	view->obj = NULL;
	PyErr_Clear();
	return false;
}

enum { DATA, OFFSETS, LENGTHS, DIRECTIONS, SPAN_VIEWS };

/* Takes the arguments of _count_span() as they are, as take(). */
static bool take_span(PyObject *const *args, Py_buffer *views, struct netlog_span *span)
{
	Py_buffer *offsets = &views[OFFSETS], *lengths = &views[LENGTHS], *rx = &views[DIRECTIONS];

	if (!take(args[OFFSETS], offsets) || !take(args[LENGTHS], lengths))
		return false;

	int offsets_kind = words_kind(offsets), lengths_kind = words_kind(lengths);

	if (offsets_kind < 0 || lengths_kind < 0 || offsets->shape[0] != lengths->shape[0])
		return false;
	span->offsets = (struct netlog_words){offsets->buf, (uint32_t)offsets_kind};
	span->lengths = (struct netlog_words){lengths->buf, (uint32_t)lengths_kind};
	span->n = (size_t)offsets->shape[0];
	if (PyBool_Check(args[DIRECTIONS])) {
		span->direction = args[DIRECTIONS] == Py_True ? NETLOG_RX : NETLOG_TX;
		return true;
	}
	if (!take(args[DIRECTIONS], rx) || rx->ndim != 1 || rx->itemsize != 1 || !rx->format ||
	    strcmp(rx->format, "?") != 0 || rx->shape[0] != offsets->shape[0])
		return false;
	span->directions = rx->buf;
	return true;
}

static PyObject *count_span(PyObject *self, PyObject *const *args, Py_ssize_t n_args)
{
	struct writer *writer = (struct writer *)self;
	Py_buffer views[SPAN_VIEWS] = {0};
	struct netlog_span span = {0};
	PyObject *answer = NULL;
	int result;

	if (n_args != SPAN_VIEWS) {
		PyErr_SetString(PyExc_TypeError, "expected data, offsets, lengths and directions");
		return NULL;
	}
	if (!take_span(args, views, &span)) {
		answer = Py_NewRef(Py_False);
	} else if (lend(args[DATA], &views[DATA]) && begin(writer)) {
		span.data = views[DATA].buf;
		span.bytes = (size_t)views[DATA].len;
		if (span.n <= BRIEF_PACKETS) {
			result = netlog_lane_count_span(writer->lane, &span);
		} else {
			Py_BEGIN_ALLOW_THREADS result = netlog_lane_count_span(writer->lane, &span);
			Py_END_ALLOW_THREADS
		}
		unlock(writer);
		if (result)
			PyErr_Format(PyExc_ValueError,
				     "offsets, lengths: a packet lies outside the %zu bytes",
				     span.bytes);
		else
			answer = Py_NewRef(Py_True);
	}
	release(views, SPAN_VIEWS);
	return answer;
}

static PyObject *count_datagrams(PyObject *self, PyObject *datagrams)
{
	struct writer *writer = (struct writer *)self;
	Py_buffer view;

	if (!lend(datagrams, &view))
		return NULL;

	bool begun = begin(writer);

	if (begun) {
		size_t n = (size_t)view.len / sizeof(struct netlog_datagram);

		Py_BEGIN_ALLOW_THREADS netlog_lane_count_bracket(writer->lane, NULL, 0, view.buf,
								 n);
		Py_END_ALLOW_THREADS unlock(writer);
	}
	release(&view, 1);
	return begun ? Py_NewRef(Py_None) : NULL;
}

/* -- the lane --------------------------------------------------------------------------------- */

static PyObject *use_lane(PyObject *self, PyObject *address)
{
	struct writer *writer = (struct writer *)self;
	void *lane = PyLong_AsVoidPtr(address);

	if (PyErr_Occurred())
		return NULL;
	lock(writer);
	writer->lane = lane;
	unlock(writer);
	return Py_NewRef(Py_None);
}

static PyObject *forget_lane(PyObject *self, PyObject *none)
{
	struct writer *writer = (struct writer *)self;

	(void)none;
	/* Another thread of the parent may have held it; that thread is not in this process. */
	pthread_mutex_init(&writer->counting, NULL);
	writer->lane = NULL;
	return Py_NewRef(Py_None);
}

/* -- the type --------------------------------------------------------------------------------- */

static PyObject *new(PyTypeObject *type, PyObject *args, PyObject *named)
{
	struct writer *writer = (struct writer *)PyType_GenericAlloc(type, 0);

	(void)args;
	(void)named;
	if (!writer)
		return NULL;
	pthread_mutex_init(&writer->counting, NULL);
	return &writer->ob_base;
}

static void dealloc(PyObject *self)
{
	struct writer *writer = (struct writer *)self;
	PyTypeObject *type = Py_TYPE(self);

	pthread_mutex_destroy(&writer->counting);
	((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
	Py_DECREF(type);
}

#define FAST(function) (PyCFunction)(void (*)(void))(function)

PyDoc_STRVAR(
	update_tx_doc,
	"update_tx($self, /, packet)\n--\n\n"
	"Count one IP packet that goes from this node's stack into the tunnel.\n\n"
	"Args:\n"
	"    packet: bytes-like, the packet from its IP header on. If it is not IP, it counts\n"
	"        as unattributed.\n\n"
	"Raises:\n"
	"    TypeError: `packet` is not bytes-like.\n"
	"    ValueError: it is not contiguous, or longer than 4 GiB.\n"
	"    StateError: the meter is closed.");
PyDoc_STRVAR(update_rx_doc, "update_rx($self, /, packet)\n--\n\n"
			    "Count one IP packet that comes out of the tunnel; see `update_tx`.");
PyDoc_STRVAR(count_packets_doc, "_count_packets($self, packets, rx, /)\n--\n\n"
				"Count a sequence of bytes-like objects in one bracket.");
PyDoc_STRVAR(
	count_span_doc,
	"_count_span($self, data, offsets, lengths, rx, /)\n--\n\n"
	"Count packets in one buffer in one bracket.\n\n"
	"Returns:\n"
	"    False: nothing was counted, as an array must be converted first: offsets and lengths\n"
	"    to contiguous integers of 32 or 64 bits, rx to bools, all of one shape (n,).");
PyDoc_STRVAR(count_datagrams_doc,
	     "_count_datagrams($self, datagrams, /)\n--\n\n"
	     "Count the array of `struct netlog_datagram` in a buffer in one bracket.");
PyDoc_STRVAR(
	use_lane_doc,
	"_use_lane($self, address, /)\n--\n\n"
	"Count into the lane at an address; 0: into none any more. Waits for a running batch.");

PyDoc_STRVAR(forget_lane_doc, "_forget_lane($self)\n--\n\n"
			      "Count into none any more, in a fork: the lane is the parent's.");

static PyMethodDef methods[] = {
	{"update_tx", FAST(update_tx), METH_FASTCALL | METH_KEYWORDS, update_tx_doc},
	{"update_rx", FAST(update_rx), METH_FASTCALL | METH_KEYWORDS, update_rx_doc},
	{"_count_packets", FAST(count_packets), METH_FASTCALL, count_packets_doc},
	{"_count_span", FAST(count_span), METH_FASTCALL, count_span_doc},
	{"_count_datagrams", count_datagrams, METH_O, count_datagrams_doc},
	{"_use_lane", use_lane, METH_O, use_lane_doc},
	{"_forget_lane", forget_lane, METH_NOARGS, forget_lane_doc},
	{NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(type_doc, "Counts into one lane of a meter; the base class of `Meter`.");

static PyType_Slot slots[] = {
	{Py_tp_doc, (void *)(uintptr_t)type_doc},
	{Py_tp_new, (void *)(uintptr_t)new},
	{Py_tp_dealloc, (void *)(uintptr_t)dealloc},
	{Py_tp_methods, methods},
	{0, NULL},
};

static PyType_Spec spec = {
	.name = "netlog._writer.LaneWriter",
	.basicsize = sizeof(struct writer),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
	.slots = slots,
};

static int fill(PyObject *module)
{
	PyObject *type = PyType_FromSpec(&spec);

	if (!type)
		return -1;

	int result = PyModule_AddType(module, (PyTypeObject *)type);

	Py_DECREF(type);
	return result;
}

static PyModuleDef_Slot module_slots[] = {
	{Py_mod_exec, (void *)(uintptr_t)fill},
	{0, NULL},
};

static struct PyModuleDef module = {
	PyModuleDef_HEAD_INIT,
	.m_name = "netlog._writer",
	.m_doc = "The calls that count, for `netlog.Meter`.",
	.m_slots = module_slots,
};

PyMODINIT_FUNC PyInit__writer(void)
{
	return PyModuleDef_Init(&module);
}
