package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

// The StorageClass parameter that asks for a file system of exactly the claimed size; without it sizes are nominal.
const enforce = "enforceSize"

// hostPath makes a folder below dir for each claim; it runs as a host process beside the kubelet. A volume with an
// enforced size is a tmpfs on that folder. Its size is also written to dir/.limits/<volume>, from where
// "python -m dev.cluster up" mounts it again (empty) when the cluster comes back.
type hostPath struct{ dir string }

func (p hostPath) path(volume string) string  { return filepath.Join(p.dir, volume) }
func (p hostPath) limit(volume string) string { return filepath.Join(p.dir, ".limits", volume) }

func (p hostPath) Provision(_ context.Context, o controller.ProvisionOptions) (*corev1.PersistentVolume, controller.ProvisioningState, error) {
	size := o.PVC.Spec.Resources.Requests[corev1.ResourceStorage]
	if err := p.make(o.PVName, size, o.StorageClass.Parameters[enforce] == "true"); err != nil {
		return nil, controller.ProvisioningFinished, err
	}
	pv := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: o.PVName},
		Spec: corev1.PersistentVolumeSpec{
			PersistentVolumeReclaimPolicy: *o.StorageClass.ReclaimPolicy,
			AccessModes:                   o.PVC.Spec.AccessModes,
			VolumeMode:                    o.PVC.Spec.VolumeMode,
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: size},
			PersistentVolumeSource:        corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: p.path(o.PVName)}},
		},
	}
	if o.SelectedNodeName != "" {
		pv.Spec.NodeAffinity = &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
			MatchExpressions: []corev1.NodeSelectorRequirement{{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{o.SelectedNodeName}}},
		}}}}
	}
	return pv, controller.ProvisioningFinished, nil
}

// make is repeated when a provisioning is retried, so it must do nothing to a volume that is complete.
func (p hostPath) make(volume string, size resource.Quantity, enforced bool) error {
	path := p.path(volume)
	if err := os.MkdirAll(path, 0o777); err != nil {
		return err
	}
	if enforced {
		if _, err := os.Stat(p.limit(volume)); err == nil {
			return nil
		}
		if err := syscall.Mount("tmpfs", path, "tmpfs", 0, tmpfsOptions(size)); err != nil {
			return fmt.Errorf("mount tmpfs on %s: %w", path, err)
		}
		return p.remember(volume, size)
	}
	return os.Chmod(path, 0o777) // past the umask
}

// grow enforces a new size where one is enforced at all.
func (p hostPath) grow(volume string, size resource.Quantity) error {
	if _, err := os.Stat(p.limit(volume)); os.IsNotExist(err) {
		return nil
	}
	if err := syscall.Mount("tmpfs", p.path(volume), "tmpfs", syscall.MS_REMOUNT, tmpfsOptions(size)); err != nil {
		return fmt.Errorf("remount %s: %w", p.path(volume), err)
	}
	return p.remember(volume, size)
}

func (p hostPath) remember(volume string, size resource.Quantity) error {
	if err := os.MkdirAll(filepath.Dir(p.limit(volume)), 0o755); err != nil {
		return err
	}
	return os.WriteFile(p.limit(volume), []byte(strconv.FormatInt(size.Value(), 10)), 0o644)
}

func (p hostPath) Delete(_ context.Context, v *corev1.PersistentVolume) error {
	if _, err := os.Stat(p.limit(v.Name)); err == nil {
		_ = syscall.Unmount(p.path(v.Name), syscall.MNT_DETACH) // not mounted any more is as good
		if err := os.Remove(p.limit(v.Name)); err != nil {
			return err
		}
	}
	return os.RemoveAll(p.path(v.Name))
}

func tmpfsOptions(size resource.Quantity) string {
	return fmt.Sprintf("mode=0777,size=%d", size.Value())
}

func provisioner() {
	fs := flag.NewFlagSet("hostpath-provisioner", flag.ExitOnError)
	kubeconfig := fs.String("kubeconfig", "", "kubeconfig file")
	dir := fs.String("dir", "", "folder that holds the volumes")
	name := fs.String("name", "dormouse.dev/hostpath", "provisioner name in the StorageClass")
	_ = fs.Parse(os.Args[1:])
	cfg, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	die(err)
	client, err := kubernetes.NewForConfig(cfg)
	die(err)
	ctx := context.Background()
	volumes := hostPath{*dir}
	go resizer{client, volumes, *name}.run(ctx)
	controller.NewProvisionController(ctx, client, *name, volumes, controller.LeaderElection(false)).Run(ctx)
}
