package main

import (
	"context"
	"fmt"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

const provisionedBy = "pv.kubernetes.io/provisioned-by"

const resync = 15 * time.Second

// resizer grows our volumes when a claim asks for more: first the file system where its size is enforced, then the
// volume's capacity, then the claim's status. A failure is reported and tried again at the next resync.
type resizer struct {
	client  kubernetes.Interface
	volumes hostPath
	name    string
}

func (r resizer) run(ctx context.Context) {
	factory := informers.NewSharedInformerFactory(r.client, resync)
	informer := factory.Core().V1().PersistentVolumeClaims().Informer()
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { r.consider(ctx, o.(*corev1.PersistentVolumeClaim)) },
		UpdateFunc: func(_, o any) { r.consider(ctx, o.(*corev1.PersistentVolumeClaim)) },
	})
	die(err)
	factory.Start(ctx.Done())
}

func (r resizer) consider(ctx context.Context, claim *corev1.PersistentVolumeClaim) {
	wanted := claim.Spec.Resources.Requests[corev1.ResourceStorage]
	if claim.Status.Phase != corev1.ClaimBound || wanted.Cmp(claim.Status.Capacity[corev1.ResourceStorage]) <= 0 {
		return
	}
	if err := r.resize(ctx, claim); err != nil {
		fmt.Fprintf(os.Stderr, "resizing %s/%s: %v\n", claim.Namespace, claim.Name, err)
	}
}

func (r resizer) resize(ctx context.Context, claim *corev1.PersistentVolumeClaim) error {
	volumes := r.client.CoreV1().PersistentVolumes()
	volume, err := volumes.Get(ctx, claim.Spec.VolumeName, metav1.GetOptions{})
	if err != nil || volume.Annotations[provisionedBy] != r.name {
		return err
	}
	wanted := claim.Spec.Resources.Requests[corev1.ResourceStorage]
	if err := r.volumes.grow(volume.Name, wanted); err != nil {
		return err
	}
	patch := fmt.Appendf(nil, `{"spec":{"capacity":{"storage":%q}}}`, wanted.String())
	if _, err := volumes.Patch(ctx, volume.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return err
	}
	patch = fmt.Appendf(nil, `{"status":{"capacity":{"storage":%q}}}`, wanted.String())
	_, err = r.client.CoreV1().PersistentVolumeClaims(claim.Namespace).
		Patch(ctx, claim.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	return err
}
