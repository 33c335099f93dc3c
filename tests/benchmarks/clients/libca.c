/* The C library, driven directly: what `with_libca.py` calls. It knows nothing of Python. */
#include <stdlib.h>

#include <cadef.h>
#include <epicsAtomic.h>
#include <epicsEvent.h>

struct client {
    int count;
    chid *channels;
    /* what was read */
    struct dbr_time_double *replies;
    /* of each subscription: updates, the last value, and values that came after a higher one */
    unsigned *counts;
    double *last;
    unsigned *backward;
};

static struct client all;
static int open_writes, good_writes;
static epicsEventId all_written;

/* Functions that return a status return 0 if all is well. */
int start(void)
{
    all_written = epicsEventMustCreate(epicsEventEmpty);
    int status = ca_context_create(ca_enable_preemptive_callback);
    return status == ECA_NORMAL ? 0 : status;
}

static void *table(size_t size)
{
    void *memory = calloc(all.count, size);
    if (!memory)
        abort();
    return memory;
}

int connect_all(const char **names, int count, double timeout)
{
    int i, status;
    for (i = 0; i < all.count; i++)
        ca_clear_channel(all.channels[i]);
    free(all.channels);
    free(all.replies);
    all.count = count;
    all.channels = table(sizeof *all.channels);
    all.replies = table(sizeof *all.replies);
    for (i = 0; i < count; i++) {
        status = ca_create_channel(names[i], NULL, NULL, 0, &all.channels[i]);
        if (status != ECA_NORMAL)
            return status;
    }
    status = ca_pend_io(timeout);
    return status == ECA_NORMAL ? 0 : status;
}

int read_all(double *values, double timeout)
{
    int i, status;
    for (i = 0; i < all.count; i++) {
        status = ca_array_get(DBR_TIME_DOUBLE, 1, all.channels[i], &all.replies[i]);
        if (status != ECA_NORMAL)
            return status;
    }
    status = ca_pend_io(timeout);
    for (i = 0; i < all.count; i++)
        values[i] = all.replies[i].value;
    return status == ECA_NORMAL ? 0 : status;
}

static void written(struct event_handler_args result)
{
    if (result.status == ECA_NORMAL)
        epicsAtomicIncrIntT(&good_writes);
    if (epicsAtomicDecrIntT(&open_writes) == 0)
        epicsEventMustTrigger(all_written);
}

/* Returns how many were completed successfully. */
int write_all(const double *values, double timeout)
{
    int i;
    epicsAtomicSetIntT(&good_writes, 0);
    epicsAtomicSetIntT(&open_writes, all.count);
    for (i = 0; i < all.count; i++)
        if (ca_array_put_callback(DBR_DOUBLE, 1, all.channels[i], &values[i], written, NULL)
            != ECA_NORMAL)
            return -1;
    ca_flush_io();
    epicsEventWaitWithTimeout(all_written, timeout);
    return epicsAtomicGetIntT(&good_writes);
}

static void update(struct event_handler_args event)
{
    long i = (long) event.usr;
    double value;
    if (event.status != ECA_NORMAL)
        return;
    value = event.type == DBR_DOUBLE ? *(const double *) event.dbr
                                     : ((const struct dbr_time_double *) event.dbr)->value;
    if (all.counts[i] && value < all.last[i])
        all.backward[i]++;
    all.last[i] = value;
    all.counts[i]++;
}

/* With time stamps, as a table subscribes, or without. */
int subscribe_all(int with_time)
{
    long i;
    int status, type = with_time ? DBR_TIME_DOUBLE : DBR_DOUBLE;
    all.counts = table(sizeof *all.counts);
    all.last = table(sizeof *all.last);
    all.backward = table(sizeof *all.backward);
    for (i = 0; i < all.count; i++) {
        status = ca_create_subscription(
            type, 1, all.channels[i], DBE_VALUE | DBE_ALARM, update, (void *) i, NULL);
        if (status != ECA_NORMAL)
            return status;
    }
    ca_flush_io();
    return 0;
}

unsigned updates(void)
{
    unsigned sum = 0;
    for (int i = 0; i < all.count; i++)
        sum += all.counts[i];
    return sum;
}

unsigned backward(void)
{
    unsigned sum = 0;
    for (int i = 0; i < all.count; i++)
        sum += all.backward[i];
    return sum;
}

/* How many subscriptions have had no update. */
int without_value(void)
{
    int sum = 0;
    for (int i = 0; i < all.count; i++)
        sum += !all.counts[i];
    return sum;
}

/* How many of the last values are not these. */
int wrong(const double *values)
{
    int sum = 0;
    for (int i = 0; i < all.count; i++)
        sum += all.last[i] != values[i];
    return sum;
}
