/* SPDX-License-Identifier: MIT */
#include "shmd/helper.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <utlist.h>

#include "base/cleanup.h"

struct helper {
	pthread_t thread;
	int eventfd;

	pthread_mutex_t mutex; /* guards what follows */
	pthread_cond_t has_work;
	struct helper_job *waiting;
	struct helper_job *finished;
	bool stopping;
};

/* Takes all waiting jobs at once; NULL when it is time to end. */
static struct helper_job *take_jobs(struct helper *helper)
{
	pthread_mutex_lock(&helper->mutex);
	while (!helper->waiting && !helper->stopping)
		pthread_cond_wait(&helper->has_work, &helper->mutex);
	struct helper_job *jobs = helper->waiting;
	helper->waiting = NULL;
	pthread_mutex_unlock(&helper->mutex);
	return jobs;
}

static void give_back(struct helper *helper, struct helper_job *job)
{
	pthread_mutex_lock(&helper->mutex);
	bool was_empty = !helper->finished;
	DL_APPEND(helper->finished, job);
	pthread_mutex_unlock(&helper->mutex);
	if (was_empty)
		eventfd_write(helper->eventfd, 1);
}

static void *work(void *argument)
{
	struct helper *helper = argument;
	struct helper_job *jobs, *job, *next;

	while ((jobs = take_jobs(helper)))
		DL_FOREACH_SAFE (jobs, job, next) {
			job->run(job);
			give_back(helper, job);
		}
	return NULL;
}

/* Signals are the loop's. */
static int start_thread(struct helper *helper)
{
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int r = pthread_create(&helper->thread, NULL, work, helper);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -r;
}

int helper_new(struct helper **ret)
{
	struct helper *helper = calloc(1, sizeof(*helper));

	if (!helper)
		return -ENOMEM;
	pthread_mutex_init(&helper->mutex, NULL);
	pthread_cond_init(&helper->has_work, NULL);
	helper->eventfd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	int r = helper->eventfd < 0 ? -errno : start_thread(helper);
	if (r < 0) {
		close_fd(helper->eventfd);
		free(helper);
		return r;
	}
	*ret = helper;
	return 0;
}

struct helper *helper_free(struct helper *helper)
{
	if (!helper)
		return NULL;
	pthread_mutex_lock(&helper->mutex);
	helper->stopping = true;
	pthread_cond_signal(&helper->has_work);
	pthread_mutex_unlock(&helper->mutex);
	pthread_join(helper->thread, NULL);
	helper_reap(helper);
	pthread_cond_destroy(&helper->has_work);
	pthread_mutex_destroy(&helper->mutex);
	close_fd(helper->eventfd);
	free(helper);
	return NULL;
}

int helper_fd(const struct helper *helper)
{
	return helper->eventfd;
}

void helper_submit(struct helper *helper, struct helper_job *job)
{
	pthread_mutex_lock(&helper->mutex);
	bool was_empty = !helper->waiting;
	DL_APPEND(helper->waiting, job);
	pthread_mutex_unlock(&helper->mutex);
	if (was_empty)
		pthread_cond_signal(&helper->has_work);
}

void helper_reap(struct helper *helper)
{
	struct helper_job *job, *next;
	eventfd_t count;

	eventfd_read(helper->eventfd, &count);
	pthread_mutex_lock(&helper->mutex);
	struct helper_job *finished = helper->finished;
	helper->finished = NULL;
	pthread_mutex_unlock(&helper->mutex);
	DL_FOREACH_SAFE (finished, job, next)
		job->done(job);
}
